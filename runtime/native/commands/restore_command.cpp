#include "commands/restore_command.h"

#include <unistd.h>

#include <algorithm>

#include <filesystem>
#include <memory>

#include "batch/flight.h"
#include "batch/report.h"
#include "batch/work.h"
#include "bundle/opening.h"
#include "commands/console.h"
#include "errors.h"
#include "loading.h"
#include "photo/vips.h"
#include "text.h"

namespace shadowdiffusion {
namespace {

// Throws RestoreError unless a picture can go to stdout.
void check_stdout(bool json) {
    if (json) throw RestoreError("--json and a restored photo cannot both go to stdout: name a file with -o");
    if (::isatty(STDOUT_FILENO))
        throw RestoreError("a restored photo does not go to a terminal: name a file with -o, or redirect stdout");
}

// The Restorer that was asked for.
std::unique_ptr<Restorer> open(const RestoreOptions& options) {
    std::optional<std::filesystem::path> path;
    if (options.bundle)
        path = *options.bundle;
    else if (options.task)
        path = built_in(*options.task);
    const auto say = [&](const std::string& line) {
        if (!options.quiet) complain(line, "note");
    };
    auto restorer = load(path, {options.backend, options.threads, say});
    const std::string& task = restorer->bundle().manifest.task;
    if (options.task && *options.task != task)
        throw RestoreError(text("bundle ", *options.bundle, " is for ", task, ", not for --task ", *options.task));
    return restorer;
}

// What the command line says, with the bundle's choices filled in. Throws RestoreError for steps that it does not have.
Settings settings_of(const RestoreOptions& options, const Bundle& bundle) {
    bundle.table(options.steps);
    std::optional<std::int64_t> size;
    if (!options.native) size = options.working_size.value_or(bundle.manifest.model.working_size);
    return {identity(bundle.manifest), options.steps.value_or(bundle.manifest.sampling.default_steps), options.seed, options.strength, size,
            options.quality};
}

}  // namespace

int restore(const RestoreOptions& options, Stop& stop) {
    const WantedFiles& wanted = options.wanted;
    if (options.native && options.working_size)
        throw RestoreError(
            text("--native means the photo's own size: leave out --working-size ", *options.working_size));
    if (wanted.format) check_encoding(*wanted.format, options.quality);
    std::vector<std::string> left_out = wanted.folders();
    if (options.mask) left_out.push_back(*options.mask);
    const Inputs inputs(options.photos, left_out);
    const Plan work = plan(inputs.found, wanted);
    const bool into_stdout = std::ranges::any_of(work.jobs, &Job::into_stdout);
    if (into_stdout) check_stdout(options.json);
    std::optional<Masks> masks;
    if (options.mask) masks.emplace(*options.mask, work.jobs.size());

    const bool lines = !options.quiet && !options.json && !into_stdout;
    const bool bar = !options.quiet && ::isatty(STDERR_FILENO);
    Report report(work.jobs.size() + inputs.problems.size() + work.problems.size(), stop, {lines, options.json, bar});
    std::unique_ptr<Restorer> restorer;
    if (!work.jobs.empty()) restorer = open(options);  // complain of it before any photo
    const Settings settings = restorer ? settings_of(options, restorer->bundle()) : Settings{};
    for (const Problem& problem : inputs.problems) report.refuse(problem);
    for (const Problem& problem : work.problems) report.refuse(problem);
    if (restorer) {
        if (options.threads > 0) vips::use_threads(static_cast<int>(options.threads));
        const auto on_step = [&](const Job& job, int done, int steps) { report.step(job.inner, done, steps); };
        const auto warn = [&](const std::string& line) { report.warn(line); };
        Worker worker(*restorer, settings, stop,
                      {std::move(masks), wanted.format, options.overwrite, options.force, on_step, warn});
        restore_all(work.jobs, [&](const Job& job, bool patient) { return worker(job, patient); }, options.jobs, stop,
                    [&](const Outcome& outcome) { report.add(outcome); });
    }
    return report.end();
}

}  // namespace shadowdiffusion
