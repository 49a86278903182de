#include "gpu/records.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "bundle/npy.h"
#include "gpu/fake_driver.h"

namespace shadowdiffusion {

namespace {

constexpr std::int64_t T = 100;

double alpha_bar(std::int64_t t) {
    double product = 1;
    for (std::int64_t i = 0; i <= t; ++i) product *= 1 - (1e-3 + (0.2 - 1e-3) * static_cast<double>(i) / (T - 1));
    return product;
}

std::vector<Step> table_of(const DeviceCase& of, std::int64_t steps) {
    std::vector<Step> table;
    const std::int64_t first = of.from_prior ? 50 : T;
    for (std::int64_t i = steps; i-- > 0;) {
        const std::int64_t t = first * i / steps, next = first * (i - 1) / steps;
        Step step{.t = t, .alpha_bar = alpha_bar(t), .alpha_bar_next = i == 0 ? 1 : alpha_bar(next),
                  .sigma = of.noisy && i > 0 ? 0.02 : 0, .rho = 0.2, .row = {}};
        if (of.growing_rho) step.rho = 0.1 * std::pow(1.5, static_cast<double>(steps - 1 - i));
        if (of.rows) step.row = i;
        table.push_back(step);
    }
    return table;
}

// A table of five numbers per step, as .npy.
void write_rows(const std::filesystem::path& file) {
    std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (5, 5), }";
    header.resize(117, ' ');
    header += '\n';
    std::ofstream out(file, std::ios::binary);
    out.write("\x93NUMPY\x01\x00\x76\x00", 10);
    out << header;
    for (int i = 0; i < 25; ++i) {
        const float value = std::sin(static_cast<float>(i));
        out.write(reinterpret_cast<const char*>(&value), sizeof value);
    }
}

}  // namespace

Bundle device_bundle(const TemporaryFolder& place, const DeviceCase& of, int sm, std::string_view without) {
    Bundle bundle{place.path(), load_folder(BUNDLES "/shadow").manifest};
    Manifest& manifest = bundle.manifest;
    manifest.model.multiple = 8;
    manifest.model.matte_threshold = of.everywhere ? 0 : 0.25;
    manifest.sampling = {.default_steps = 5, .mask_policy = of.policy, .data_consistency = of.consistent, .clamp = of.clamp,
                         .start = {}, .T = T, .start_alpha_bar = {}, .tables = {{"1", table_of(of, 1)}, {"2", table_of(of, 2)}, {"5", table_of(of, 5)}}};
    if (of.from_prior) manifest.sampling.start_alpha_bar = manifest.sampling.tables["5"][0].alpha_bar;
    manifest.files = {{std::string(DENOISER), {}}};
    if (of.has_prior) manifest.files[std::string(PRIOR)];
    if (of.has_head) manifest.files[std::string(MASK_HEAD)];
    if (of.rows) {
        write_rows(place.path() / ROWS);
        manifest.files[std::string(ROWS)];
    }
    for (const auto& record : nlohmann::json::parse(std::ifstream(KERNEL_RECORDS))) {
        const std::string name = record["name"], file = name + ".cubin";
        if (name.find(without) != std::string::npos) continue;
        std::ofstream(place.path() / file) << FAKE_CUBIN << name;
        Kernel kernel{.name = name, .entry = record["entry"], .arguments = {}, .constants = {}, .grid = record["grid"],
                      .warps = record["warps"], .source = "", .triton = "", .builds = {{sm, file, 1, 0, 0}}};
        for (const auto& argument : record["arguments"])
            kernel.arguments.push_back({argument[0], argument[1], argument[2]});
        manifest.kernels.push_back(kernel);
    }
    return bundle;
}

}  // namespace shadowdiffusion
