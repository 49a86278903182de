#include "engines/fit.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>
#include <vector>

#include "loop/padding.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

constexpr int AMPERE = 80;  // smallest SM on which hardware-compatible engines of TensorRT run

std::vector<int> numbers(std::string_view version) {
    std::vector<int> found;
    while (true) {
        const std::size_t end = version.find('.');
        const std::string_view part = version.substr(0, end);
        int number = 0;
        std::from_chars(part.data(), part.data() + part.size(), number);
        found.push_back(number);
        if (end == std::string_view::npos) return found;
        version.remove_prefix(end + 1);
    }
}

// Whether a version of a backend reads engines of the key's version.
bool reads(const EngineKey& key, const std::string& version) {
    if (!key.has("version-compatible")) return version == key.backend_version;
    const std::vector<int> built = numbers(key.backend_version), installed = numbers(version);
    return built.front() == installed.front() && built <= installed;
}

template <class Texts>
std::string joined(const Texts& texts, std::string_view between) {
    std::string line;
    for (const auto& one : texts) line += (line.empty() ? "" : std::string(between)) + one;
    return line;
}

// "sm is 89, not 90"
std::string differs(std::string_view field, const std::string& stored, const std::string& wanted) {
    return text(field, " is ", stored.empty() ? "unknown" : stored, ", not ", wanted);
}

}  // namespace

std::optional<std::string> misfit(const EngineKey& key, const Bundle& bundle, const Gpu& gpu, const EngineBackend& backend) {
    if (key.backend != backend.name) return text("it was built for ", key.backend, ", and ", backend.name, " was built in here");
    std::vector<std::string> phrases;
    const bool anywhere = key.has("hardware-compatible") && gpu.sm >= AMPERE;
    if (!anywhere && key.device && *key.device != gpu.name) phrases.push_back(differs("device", *key.device, gpu.name));
    if (!anywhere && !key.sm.empty() && std::ranges::find(key.sm, gpu.sm) == key.sm.end()) {
        std::vector<std::string> built;
        for (const std::int64_t sm : key.sm) built.push_back(std::to_string(sm));
        phrases.push_back(differs("sm", joined(built, " and "), std::to_string(gpu.sm)));
    }
    if (!anywhere && key.device && key.driver != gpu.driver)
        phrases.push_back(differs("driver", key.driver.value_or(""), gpu.driver));
    if (!reads(key, backend.version)) phrases.push_back(differs("backend version", key.backend_version, backend.version));
    const auto here = network_digests(bundle);
    std::set<std::string> changed;
    for (const auto& [name, digest] : here)
        if (const auto old = key.onnx.find(name); old == key.onnx.end() || old->second != digest) changed.insert(name);
    for (const auto& [name, _] : key.onnx)
        if (!here.contains(name)) changed.insert(name);
    if (!changed.empty()) phrases.push_back(joined(changed, " and ") + " changed since");
    if (phrases.empty()) return {};
    return joined(phrases, "; ");
}

bool covers(const EngineKey& key, Size size) {
    const Profile profile = key.sizes();
    return key.images().first <= 1 && profile.least.first <= size.first && size.first <= profile.most.first && profile.least.second <= size.second &&
           size.second <= profile.most.second;
}

bool covers_photos(const EngineKey& key, const ModelInfo& model) {
    const auto multiple = static_cast<std::size_t>(model.multiple), side = static_cast<std::size_t>(model.working_size);
    const std::size_t lengthwise = rounded_up(side, multiple);
    const auto across = static_cast<std::size_t>(std::nearbyint(static_cast<double>(side) * 2 / 3));
    return covers(key, {lengthwise, rounded_up(across, multiple)}) && covers(key, {rounded_up(across, multiple), lengthwise});
}

}  // namespace shadowdiffusion
