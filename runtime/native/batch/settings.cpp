#include "batch/settings.h"

#include <array>
#include <charconv>
#include <initializer_list>
#include <string_view>
#include <utility>
#include <vector>

#include "bundle/digest.h"
#include "text.h"

namespace shadowdiffusion {
namespace {

// A number as msgspec writes it: in full from 1e-5 to 1e16, else as 1.5e-6, with as few digits as tell it from others.
std::string encoded(double number) {
    std::array<char, 32> digits;
    const auto write = [&](std::chars_format form) {
        return std::string(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), number, form).ptr);
    };
    std::string words = write(std::chars_format::scientific);
    const std::size_t mark = words.find('e');
    const int exponent = std::stoi(words.substr(mark + 1));
    if (exponent < -5 || exponent >= 16) return words.substr(0, mark + 1) + std::to_string(exponent);
    words = write(std::chars_format::fixed);
    return words.find('.') == std::string::npos ? words + ".0" : words;
}

std::string encoded(std::string_view words) { return Record(words).dump(); }
std::string encoded(std::int64_t number) { return std::to_string(number); }
std::string encoded(bool value) { return value ? "true" : "false"; }

template <class Value>
std::string encoded(const std::optional<Value>& value) {
    return value ? encoded(*value) : "null";
}

// Between brackets or braces, and commas.
std::string enclosed(char first, const std::vector<std::string>& parts, char last) {
    std::string json(1, first);
    for (const std::string& part : parts) (json += json.size() > 1 ? "," : "") += part;
    return json += last;
}

std::string field(std::string_view name, const std::string& value) { return text(encoded(name), ":", value); }

// Names, and values that are JSON already.
std::string object(std::initializer_list<std::pair<std::string_view, std::string>> fields) {
    std::vector<std::string> parts;
    for (const auto& [name, value] : fields) parts.push_back(field(name, value));
    return enclosed('{', parts, '}');
}

std::string encoded(const ModelInfo& model) {
    const Illumination& light = model.illumination;
    return object({{"denoiser_size", encoded(std::string_view(model.denoiser_size))},
                   {"denoiser_parameters", encoded(model.denoiser_parameters)},
                   {"prior_parameters", encoded(model.prior_parameters)},
                   {"multiple", encoded(model.multiple)},
                   {"working_size", encoded(model.working_size)},
                   {"illumination", object({{"epsilon", encoded(light.epsilon)},
                                            {"floor", encoded(light.floor)},
                                            {"ceiling", encoded(light.ceiling)}})},
                   {"matte_threshold", encoded(model.matte_threshold)},
                   {"blind_mask", encoded(model.blind_mask)}});
}

std::string encoded(const std::vector<Step>& table) {
    std::vector<std::string> steps;
    for (const Step& step : table)
        steps.push_back(object({{"t", encoded(step.t)},
                                {"alpha_bar", encoded(step.alpha_bar)},
                                {"alpha_bar_next", encoded(step.alpha_bar_next)},
                                {"sigma", encoded(step.sigma)},
                                {"rho", encoded(step.rho)},
                                {"row", encoded(step.row)}}));
    return enclosed('[', steps, ']');
}

std::string encoded(const Sampling& sampling) {
    std::vector<std::string> tables;
    for (const auto& [steps, table] : sampling.tables) tables.push_back(field(steps, encoded(table)));
    return object({{"default_steps", encoded(sampling.default_steps)},
                   {"eta", encoded(sampling.eta)},
                   {"rho_schedule", encoded(std::string_view(sampling.rho_schedule))},
                   {"rho_gamma", encoded(sampling.rho_gamma)},
                   {"mask_policy", encoded(name_of(sampling.mask_policy))},
                   {"data_consistency", encoded(sampling.data_consistency)},
                   {"clamp", encoded(sampling.clamp)},
                   {"start", encoded(sampling.start)},
                   {"T", encoded(sampling.T)},
                   {"start_alpha_bar", encoded(sampling.start_alpha_bar)},
                   {"tables", enclosed('{', tables, '}')}});
}

}  // namespace

Record Settings::record(Format form) const {
    Record fields;
    fields["steps"] = steps;
    fields["seed"] = seed;
    fields["strength"] = strength;
    fields["working_size"] = working_size ? Record(*working_size) : Record("native");
    if (is_lossy(form)) fields["quality"] = quality ? Record(*quality) : Record(nullptr);
    return fields;
}

std::string identity(const Manifest& manifest) {
    std::vector<std::string> files;
    for (const auto& [name, entry] : manifest.files)
        if (name == PRIOR || name == DENOISER || name == MASK_HEAD || name == ROWS)
            files.push_back(field(name, encoded(std::string_view(entry.sha256))));
    const std::string networks = enclosed('{', files, '}');
    return sha256(enclosed('[', {encoded(manifest.model), encoded(manifest.sampling), networks}, ']'));
}

}  // namespace shadowdiffusion
