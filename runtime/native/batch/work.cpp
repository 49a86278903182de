#include "batch/work.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <new>
#include <ranges>

#include "batch/extras.h"
#include "batch/reading.h"
#include "errors.h"
#include "photo/colour.h"
#include "photo/encoding.h"
#include "photo/reading.h"
#include "photo/writing.h"
#include "text.h"

namespace shadowdiffusion {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::string shown(const std::string& source) { return source == STDIN ? "stdin" : source; }

// Throws PhotoError where something would be lost that is at `path`.
void check_place(const std::string& path, const std::string& source, bool overwrite) {
    struct stat there{};
    if (::lstat(path.c_str(), &there) != 0) return;
    if (::stat(path.c_str(), &there) == 0 && S_ISDIR(there.st_mode))
        throw PhotoError(text("cannot write ", path, ": it is a folder"));
    if (overwrite) return;
    const char* what = same_file(path, source) ? "it is the photo itself" : "it exists already";
    throw PhotoError(text("cannot write ", path, ": ", what, " (--overwrite replaces it)"));
}

bool wants(const Job& job, Kind kind) {
    return std::ranges::any_of(job.targets, [&](const auto& target) { return target.first == kind; });
}

}  // namespace

Outcome Worker::operator()(const Job& job) const noexcept {
    const auto started = Clock::now();
    Outcome outcome;
    try {
        outcome.input = job.source;
        outcome.output = job.photo_target();
        process(job, outcome);
    } catch (const Stopped&) {
        outcome.status = Status::dropped;
    } catch (const Cancelled&) {
        outcome.status = Status::dropped;
    } catch (const std::bad_alloc&) {
        outcome.error = "it does not fit into memory: choose fewer --jobs";
    } catch (const std::exception& error) {  // one photo must not end the others
        outcome.error = error.what();
    }
    outcome.seconds = seconds_since(started);
    return outcome;
}

void Worker::process(const Job& job, Outcome& outcome) const {
    const auto started = Clock::now();
    stop_.check();
    auto data = read_bytes(job.source, stop_);
    const std::string name = shown(job.source);
    const Format form = job.into_stdout() ? choices_.format.value_or(sniff(data, name)) : format_of(job.photo_target());
    if (choices_.masks) outcome.mask = choices_.masks->of(job);
    outcome.settings = {settings_, form};
    check_targets(job, outcome.mask);
    Photo photo = read_photo(data, name);
    outcome.warning = photo.warning;
    outcome.height = photo.pixels.height, outcome.width = photo.pixels.width;
    std::optional<Photo> mask;
    if (outcome.mask) mask = read_photo(read_bytes(*outcome.mask, stop_), text("mask ", *outcome.mask));
    data = {};  // it can be as large as the pixels
    outcome.timings.emplace_back("read", seconds_since(started));

    const ProfileColours colours(photo.profile);
    Options wanted = options(job);
    if (!photo.profile.empty()) wanted.colours = &colours;
    const ImageView mask_view = mask ? mask->pixels.view() : ImageView{};
    Restored restored = restorer_.restore(photo.pixels.view(), mask ? &mask_view : nullptr, wanted);
    outcome.tile = restored.run.tile;
    const Timings& timings = restored.run.timings;
    outcome.timings.insert(outcome.timings.end(), {{"prepare", timings.prepare},
                                                   {"prior", timings.prior},
                                                   {"diffusion", timings.diffusion},
                                                   {"full size", timings.full_size}});
    stop_.check();
    write(job, photo, restored, form, outcome);
    outcome.status = Status::restored;
}

void Worker::check_targets(const Job& job, const std::optional<std::string>& mask) const {
    for (const auto& [kind, path] : job.targets) {
        if (path == STDOUT) continue;
        if (mask && same_file(path, *mask)) throw PhotoError(text("cannot write ", path, ": it is the mask"));
        check_place(path, job.source, choices_.overwrite);
    }
}

Options Worker::options(const Job& job) const {
    Options wanted;
    wanted.steps = settings_.steps;
    wanted.seed = settings_.seed;
    wanted.strength = settings_.strength;
    wanted.working_size = settings_.working_size;
    wanted.native = !settings_.working_size;
    wanted.warn = choices_.warn;
    wanted.with_mask = wants(job, Kind::mask);
    wanted.progress = [this, &job](int done, int steps) {
        if (choices_.on_step) choices_.on_step(job, done, steps);
        return !stop_.asked();
    };
    return wanted;
}

// The photo comes last, so that if it is there, all is.
void Worker::write(const Job& job, Photo& photo, Restored& restored, Format form, Outcome& outcome) const {
    const auto started = Clock::now();
    const auto [height, width] = std::pair(photo.pixels.height, photo.pixels.width);
    for (const auto& [kind, path] : job.targets | std::views::reverse) {
        Photo picture;
        switch (kind) {
        case Kind::photo:
            picture = std::move(photo);
            picture.pixels = std::move(restored.image);
            break;
        case Kind::compare:
            picture = comparison(photo, restored.image);
            break;
        case Kind::mask:
            picture = mask_picture(restored.mask, height, width);
            break;
        case Kind::illumination:
            picture = illumination_picture(restored.illumination, restored.working, {height, width});
            break;
        }
        if (path == STDOUT) {
            outcome.picture = encode_photo(picture, form, is_lossy(form) ? settings_.quality : std::nullopt,
                                           text("encode the photo as ", name_of(form)));
            continue;
        }
        const bool lossy = is_lossy(format_of(path));
        write_photo(path, picture, choices_.overwrite, lossy ? settings_.quality : std::nullopt);
        if (kind != Kind::photo) outcome.extras.emplace_back(name_of(kind), path);
    }
    outcome.timings.emplace_back("write", seconds_since(started));
}

}  // namespace shadowdiffusion
