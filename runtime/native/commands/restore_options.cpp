#include "commands/restore_options.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <map>
#include <utility>

#include "commands/console.h"
#include "errors.h"
#include "loading.h"
#include "text.h"

namespace shadowdiffusion {
namespace {

constexpr const char* DESCRIPTION = "Restore photos of any size, one or many thousands, without Python.";
constexpr const char* ENDING = R"(
Folders are searched with all below them, and mirrored under --output. Hidden files and earlier results are left out.

What is done already is skipped: results are known by .shadowdiffusion.jsonl beside them, which shadowdiffusion keeps
too. Whatever else exists is replaced only with --overwrite.

Illumination has 16 bits: 32768 where nothing changed, 4096 less for every stop that the photo was darker.

Exit code: 0 all photos are done, 1 some failed, 2 bad usage, bundle or machine, 130 interrupted.

Examples:
  shadowdiffusion-native photo.jpg                        writes photo.restored.jpg
  shadowdiffusion-native photos -o restored               a folder, under the same names
  shadowdiffusion-native 'photos/**/*.tif' -o restored --format jpeg --quality 90
  shadowdiffusion-native photo.jpg --mask mask.png --strength 0.7 --compare
  shadowdiffusion-native photos -o restored --json > records.jsonl
  shadowdiffusion-native - < photo.jpg > restored.jpg
)";

// An option of the Python program that has no twin here.
constexpr std::string_view ELSEWHERE = "--device";

const std::map<std::string, Format> FORMATS{
    {"png", Format::png}, {"jpeg", Format::jpeg}, {"webp", Format::webp}, {"tiff", Format::tiff}};

// What is wrong with the text of a seed, or nothing; CLI11 would take -1 for the largest.
std::string wrong_seed(const std::string& words) {
    std::uint64_t seed = 0;
    const auto [end, failed] = std::from_chars(words.data(), words.data() + words.size(), seed);
    if (failed == std::errc() && end == words.data() + words.size()) return "";
    return text("seed ", words, " is out of range: choose one from 0 to 2**64 - 1");
}

std::vector<std::string> known_backends() {
    std::vector<std::string> known = backends();
    known.insert(known.begin(), "auto");
    return known;
}

void add_options(CLI::App& app, RestoreOptions& options, std::optional<std::string>& format) {
    WantedFiles& wanted = options.wanted;
    app.add_option("PHOTO", options.photos, "Photos (PNG, JPEG, WebP, TIFF), folders, quoted patterns, or - for stdin.")
        ->group("Photos")
        ->required();
    app.add_option("-o,--output", wanted.photo,
                   "File, folder, or - for stdout.  [default: NAME.restored.EXT beside each photo; stdout for stdin]")
        ->group("Results");
    app.add_option("--format", format, "Format of the results.  [default: each photo's own]")
        ->check(CLI::IsMember(FORMATS))
        ->group("Results");
    app.add_option("--quality", options.quality, "Of JPEG and WebP.  [default: 95]")
        ->check(CLI::Range(1, 100))
        ->group("Results");
    app.add_flag("--compare", wanted.compare, "Also write before and after, as NAME.compare.jpg.")->group("Results");
    app.add_option("--save-mask", wanted.mask, "Also write the shadow that was found: a file, or a folder.")
        ->group("Results");
    app.add_option("--save-illumination", wanted.illumination,
                   "Also write how the light was changed (see below): a file, or a folder.")
        ->group("Results");
    app.add_option("--mask", options.mask,
                   "Shadow mask, white = shadow, or a folder of masks with the photos' names.  [default: found]")
        ->group("Restoration");
    app.add_option("--strength", options.strength, "How much is changed: 0 nothing, 1 all.  [default: 1]")
        ->check(CLI::Range(0.0, 1.0))
        ->group("Restoration");
    app.add_option("--steps", options.steps, "Diffusion steps.  [default: the bundle's]")->group("Restoration");
    app.add_option("--seed", options.seed, "Of the noise: the same seed gives the same result.  [default: 0]")
        ->check(CLI::Validator(wrong_seed, ""))
        ->group("Restoration");
    app.add_option("--working-size", options.working_size,
                   "Long side, in pixels, at which the networks run.  [default: the bundle's]")
        ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 31))
        ->group("Restoration");
    app.add_flag("--native", options.native, "Run the networks at full size: slow, and in tiles past the memory.")
        ->group("Restoration");
    app.add_option("--task", options.task, "What to correct, with the bundle that comes along.  [default: shadow]")
        ->check(CLI::IsMember({"shadow", "low-light", "exposure"}))
        ->group("Model and machine");
    app.add_option("--bundle", options.bundle, "Another bundle: a folder or a zip file.")->group("Model and machine");
    app.add_option("--backend", options.backend, "What runs the networks.  [default: auto, the fastest that works]")
        ->check(CLI::IsMember(known_backends()))
        ->group("Model and machine");
    app.add_option("--threads", options.threads, "CPU threads.  [default: all cores]")
        ->check(CLI::Range(1u, 4096u))
        ->group("Model and machine");
    app.add_option("--jobs", options.jobs, "Photos in hand at once; one at a time is in the networks.  [default: 3]")
        ->check(CLI::Range(std::size_t{1}, std::size_t{1024}))
        ->group("Run");
    app.add_flag("--overwrite", options.overwrite, "Replace what exists, the photo itself too.")->group("Run");
    app.add_flag("--force", options.force, "Make again what is done.")->group("Run");
    app.add_flag("--json", options.json, "Print one JSON object per photo, each on a line.")->group("Run");
    app.add_flag("-q,--quiet", options.quiet, "Print errors only.")->group("Run");
}

}  // namespace

std::optional<RestoreOptions> parse(int count, const char* const* words) {
    for (int i = 1; i < count && std::string_view(words[i]) != "--"; ++i)
        if (const std::string_view word(words[i]); word == ELSEWHERE || word.starts_with(text(ELSEWHERE, "=")))
            throw RestoreError(
                text(ELSEWHERE, " is not in shadowdiffusion-native: use the Python program shadowdiffusion"));
    CLI::App app(DESCRIPTION, "shadowdiffusion-native");
    app.set_version_flag("--version", text("shadowdiffusion-native ", SHADOWDIFFUSION_VERSION_TEXT));
    app.footer(ENDING);
    app.get_formatter()->column_width(34);
    RestoreOptions options;
    std::optional<std::string> format;
    add_options(app, options, format);
    try {
        app.parse(count, words);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() != 0) throw RestoreError(text(error.what(), " (see --help)"));
        app.exit(error);
        return std::nullopt;
    }
    if (format) options.wanted.format = FORMATS.at(*format);
    return options;
}

}  // namespace shadowdiffusion
