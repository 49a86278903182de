#include "bundle/contradictions.h"

#include <algorithm>
#include <charconv>

#include "text.h"

namespace shadowdiffusion {

namespace {

using Problem = std::optional<std::string>;

bool is_step_count(std::string_view key) {
    std::int64_t count = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), count);
    return error == std::errc() && end == key.data() + key.size() && count > 0 && key == std::to_string(count);
}

Problem table_problem(const std::string& key, const std::vector<Step>& table, const Sampling& sampling) {
    if (!is_step_count(key)) return "the key is not a step count";
    if (table.empty()) return "it is empty";
    const Step &first = table.front(), &last = table.back();
    if (sampling.start && first.t != *sampling.start)
        return text("it starts at t = ", first.t, ", not at ", *sampling.start);
    if (first.t >= sampling.T || last.alpha_bar_next != 1)
        return text("it must start below T = ", sampling.T, " and end with alpha_bar_next = 1");
    for (const Step& step : table) {
        if (sampling.mask_policy == MaskPolicy::closed_form && step.rho == 0)
            return text("closed-form masks need rho above 0, which is 0 at t = ", step.t);
        if (step.sigma * step.sigma > 1 - step.alpha_bar_next + 1e-12)
            return text("sigma ", step.sigma, " at t = ", step.t, " is too large for alpha_bar_next ",
                        step.alpha_bar_next);
    }
    for (std::size_t i = 0; i + 1 < table.size(); ++i)
        if (table[i].t <= table[i + 1].t || table[i].alpha_bar_next != table[i + 1].alpha_bar)
            return text("t = ", table[i].t, " and ", table[i + 1].t, " do not follow each other");
    return {};
}

Problem file_problem(const Manifest& manifest) {
    const auto& files = manifest.files;
    const auto listed = [&](std::string_view name) { return files.contains(std::string(name)); };
    for (const auto& [name, _] : files)
        if (!is_safe(name)) return text("file name '", name, "' leaves the bundle or is not a plain relative path");
    if (!listed(DENOISER)) return text(DENOISER, " is not listed");
    const auto& parameters = manifest.model.prior_parameters;
    if (listed(PRIOR) != parameters.has_value())
        return text("prior_parameters is ", parameters ? std::to_string(*parameters) : "None", " but ", PRIOR, " is ",
                    listed(PRIOR) ? "listed" : "not listed");
    bool with_row = false, without_row = false;
    for (const auto& [_, table] : manifest.sampling.tables)
        for (const Step& step : table) (step.row ? with_row : without_row) = true;
    if ((with_row && !listed(ROWS)) || (without_row && listed(ROWS)))
        return text("steps have rows if and only if ", ROWS, " is listed");
    const Sampling& sampling = manifest.sampling;
    const bool by_prior =
        sampling.data_consistency || sampling.start || sampling.mask_policy == MaskPolicy::closed_form;
    if (!listed(PRIOR) && by_prior)
        return text("data consistency, closed-form masks and a start need ", PRIOR, ", which is not listed");
    for (const auto& [name, _] : files)
        if (name.starts_with(text(ENGINES, "/"))) return text(name, " is listed, but engines are no part of the manifest");
    return {};
}

}  // namespace

bool is_safe(std::string_view name) {
    if (name.empty() || name.front() == '/' || name == "." || name == MANIFEST) return false;
    if (name.find_first_of(std::string_view("\\:\0", 3)) != std::string_view::npos) return false;
    for (std::size_t begin = 0; begin <= name.size();) {
        const std::size_t end = std::min(name.find('/', begin), name.size());
        const std::string_view part = name.substr(begin, end - begin);
        if (part.empty() || part == "." || part == "..") return false;
        begin = end + 1;
    }
    return true;
}

Problem contradiction(const Manifest& manifest) {
    const Sampling& sampling = manifest.sampling;
    if (Problem problem = file_problem(manifest)) return problem;
    const Illumination& limits = manifest.model.illumination;
    if (!(limits.floor < limits.ceiling)) return text("illumination floor ", limits.floor, " is not below its ceiling");
    for (const auto& [key, table] : sampling.tables)
        if (limits.floor == 0 && std::ranges::any_of(table, [](const Step& step) { return step.rho == 0; }))
            return "an illumination floor of 0 needs rho above 0 at every step";
    if (sampling.start.has_value() != sampling.start_alpha_bar.has_value())
        return "start and start_alpha_bar must be given together";
    if (!sampling.tables.contains(std::to_string(sampling.default_steps))) {
        std::string keys;
        for (const auto& [key, _] : sampling.tables) keys += (keys.empty() ? "" : ", ") + key;
        return text("default_steps is ", sampling.default_steps, " but the tables are ", keys);
    }
    for (const auto& [key, table] : sampling.tables)
        if (const Problem problem = table_problem(key, table, sampling))
            return text("sampling table '", key, "': ", *problem);
    return {};
}

}  // namespace shadowdiffusion
