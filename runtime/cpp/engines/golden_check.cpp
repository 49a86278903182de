#include "engines/golden_check.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "bundle/digest.h"
#include "bundle/golden_example.h"
#include "cache.h"
#include "errors.h"
#include "loop/host_loop.h"
#include "loop/noise.h"
#include "loop/padding.h"
#include "loop/prior_update.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

namespace fs = std::filesystem;

constexpr double BEST = 200;
constexpr const char* UNFINISHED = "its check did not come to an end";

// PSNR in dB, peak 1, that every output must reach against the portable networks, by precision.
double output_psnr(const std::string& precision) {
    static const std::map<std::string, double> least = {{"fp32", 50}, {"fp16", 35}, {"bf16", 25}, {"int8", 6}, {"fp8", 6}};
    const auto found = least.find(precision);
    if (found == least.end()) throw RestoreError(text("its precision ", precision, " is unknown here: upgrade shadowdiffusion"));
    return found->second;
}

std::optional<Verdict> read(const fs::path& file, const std::string& device) {
    try {
        const auto found = nlohmann::json::parse(std::ifstream(file));
        if (found.at("device").get<std::string>() != device) return {};
        Verdict verdict{.least = found.at("least"), .psnr = {}, .problem = found.at("problem")};
        if (!found.at("psnr").is_null()) verdict.psnr = found.at("psnr").get<double>();
        return verdict;
    } catch (const nlohmann::json::exception&) {
        return {};
    }
}

// Whole or not at all; one process at a time. Nothing where there is no cache.
void write(const fs::path& file, const std::string& engine, const std::string& device, const Verdict& verdict) {
    if (file.empty()) return;
    const fs::path temporary = file.string() + ".tmp";
    nlohmann::ordered_json fields = {{"engine", engine}, {"device", device}, {"least", verdict.least}};
    fields["psnr"] = verdict.psnr ? nlohmann::ordered_json(*verdict.psnr) : nlohmann::ordered_json();
    fields["problem"] = verdict.problem;
    std::ofstream(temporary) << fields.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    std::error_code ignored;
    fs::rename(temporary, file, ignored);
}

// Every output of every network, of the denoiser at the first and the last step, by what it is.
std::map<std::string, std::vector<float>> outputs(const Bundle& bundle, Networks& networks, ConstPlanes image,
                                                  ConstPlanes mask, std::span<const Step> table, Workers& workers) {
    std::map<std::string, std::vector<float>> found;
    const auto [height, width] = image.size();
    const auto planes = [height = height, width = width](std::vector<float>& values, std::size_t channels) {
        values.resize(channels * height * width);
        return Planes{values, channels, height, width};
    };
    if (bundle.has_prior())
        networks.prior(image, mask, planes(found["the clean image"], 3), planes(found["the matte"], 1));
    std::vector<float> y, noise, x;
    to_signed(image, planes(y, 3), workers);
    gaussian(planes(noise, 3), 0, 0, workers);
    planes(x, 3);
    for (const Step& step : {table.front(), table.back()}) {
        const auto signal = static_cast<float>(std::sqrt(step.alpha_bar)), spread = static_cast<float>(std::sqrt(1 - step.alpha_bar));
        for (std::size_t i = 0; i < x.size(); ++i) x[i] = signal * y[i] + spread * noise[i];
        const ConstPlanes photo = planes(y, 3), state = planes(x, 3);
        const std::string when = text(" at t = ", step.t);
        networks.denoise(photo, mask, state, step, planes(found["the noise" + when], 3), {});
        networks.denoise(photo, mask, state, step, planes(found["the noise with a mask" + when], 3),
                         planes(found["the mask" + when], 1));
    }
    return found;
}

ConstPlanes image_of(const Golden& golden) { return {golden.image, 3, golden.size.first, golden.size.second}; }
ConstPlanes mask_of(const Golden& golden) { return {golden.mask, 1, golden.size.first, golden.size.second}; }

}  // namespace

std::optional<std::string> Verdict::failure() const {
    if (!psnr) return "it failed on the golden example: " + problem;
    if (*psnr >= least) return {};
    return text("it reproduces the golden example to ", std::round(*psnr * 10) / 10, " dB only, ", least, " dB are needed");
}

Verdict verdict_of(const Checked& networks, const std::string& device, const std::string& subject, double least,
                   const std::function<double()>& check, const std::function<void(const std::string&)>& say) {
    const auto folder = cache_folder("checks");
    const FolderLock lock(folder);
    const fs::path file = folder ? *folder / ("cpp-" + sha256(networks.digest + subject) + ".json") : fs::path();
    if (const auto known = read(file, device)) return *known;
    say(text("checking ", networks.title, ", which is new to this machine (", subject.substr(0, subject.find(' ')), ")"));
    Verdict verdict{.least = least, .psnr = {}, .problem = UNFINISHED};
    write(file, networks.title, device, verdict);
    try {
        verdict.psnr = check();
        verdict.problem.clear();
    } catch (const RestoreError& error) {
        verdict.problem = error.what();
    }
    write(file, networks.title, device, verdict);
    return verdict;
}

double least_psnr(const StoredEngine& engine) { return std::min(GOLDEN_TOLERANCE, engine.gate.value_or(GOLDEN_TOLERANCE)); }

double golden_psnr(const Bundle& bundle, const StoredEngine& engine, Networks& networks, Networks& portable, Workers& workers) {
    const Golden golden = read_golden(bundle);
    const std::vector<Step>& table = bundle.table(golden.steps);
    const Wanted wanted{table, golden.seed, true};
    Arena arena;
    HostLoop loop(bundle, networks, workers);
    const Working found = loop.restore(image_of(golden), mask_of(golden), wanted, arena);
    const auto multiple = static_cast<std::size_t>(bundle.manifest.model.multiple);
    const Size padded = {rounded_up(golden.size.first, multiple), rounded_up(golden.size.second, multiple)};
    std::vector<float> image(3 * padded.first * padded.second), mask(padded.first * padded.second);
    const Planes photo{image, 3, padded.first, padded.second}, shadow{mask, 1, padded.first, padded.second};
    pad(image_of(golden), photo);
    pad(mask_of(golden), shadow);
    const auto given = outputs(bundle, networks, photo, shadow, table, workers);
    const auto truth = outputs(bundle, portable, photo, shadow, table, workers);
    const double least = output_psnr(engine.key.precision);
    for (const auto& [name, output] : given) {
        const double reached = psnr(output, truth.at(name));
        if (!(reached >= least))
            throw RestoreError(text(name, " is that of the portable networks to ", std::round(reached * 10) / 10, " dB only, ",
                                    least, " dB are needed"));
    }
    return std::min(BEST, psnr(found.image.values, golden.x));
}

double golden_psnr(const Bundle& bundle, Networks& networks, Workers& workers) {
    const Golden golden = read_golden(bundle);
    Arena arena;
    HostLoop loop(bundle, networks, workers);
    const Wanted wanted{bundle.table(golden.steps), golden.seed, true};
    return std::min(BEST, psnr(loop.restore(image_of(golden), mask_of(golden), wanted, arena).image.values, golden.x));
}

}  // namespace shadowdiffusion
