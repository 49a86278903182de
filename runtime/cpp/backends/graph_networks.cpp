#include "backends/graph_networks.h"

#include <algorithm>

#include "backends/failures.h"
#include "errors.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

Input input(std::string_view name, ConstPlanes planes) {
    return {name, {1, planes.channels, planes.height, planes.width}, 4, planes.values.data()};
}

Output output(std::string_view name, Planes planes) {
    return {name, {1, planes.channels, planes.height, planes.width}, 4, planes.values.data()};
}

// Throws RestoreError if a graph gave anything that is no number.
void check_finite(std::string_view name, std::span<const float> values) {
    if (!all_finite(values)) throw RestoreError(text(name, " returned values that are not finite: it cannot handle this photo"));
}

std::string joined(const std::vector<std::string>& names) {
    std::string line;
    for (const std::string& name : names) line += (line.empty() ? "" : ", ") + name;
    return "[" + line + "]";
}

}  // namespace

Signature signature_of(const Bundle& bundle, std::string_view name) {
    if (name == PRIOR) return {{"image", "mask"}, {"clean", "matte"}};
    if (name == MASK_HEAD) return {{"features"}, {"shadow"}};
    std::vector<std::string> inputs = {"image", "mask", bundle.has(ROWS) ? "row" : "t", "x_t"};
    std::vector<std::string> outputs = {"noise", bundle.has(MASK_HEAD) ? "features" : "shadow"};
    std::ranges::sort(inputs);
    std::ranges::sort(outputs);
    return {inputs, outputs};
}

void check_signature(const std::string& path, const Signature& found, const Signature& wanted) {
    if (found.inputs == wanted.inputs && found.outputs == wanted.outputs) return;
    throw BundleError(text(path, " maps ", joined(found.inputs), " to ", joined(found.outputs), ", expected ",
                           joined(wanted.inputs), " to ", joined(wanted.outputs)));
}

GraphNetworks::GraphNetworks(const Bundle& bundle, std::unique_ptr<Graphs> graphs)
    : graphs_(std::move(graphs)), rows_(read_rows(bundle)), has_prior_(bundle.has_prior()),
      has_head_(bundle.has(MASK_HEAD)) {}

void GraphNetworks::prefetch() {
    if (has_prior_) graphs_->prefetch(PRIOR);
    graphs_->prefetch(DENOISER);
}

void GraphNetworks::prior(ConstPlanes image, ConstPlanes mask, Planes clean, Planes matte) {
    const std::array inputs = {input("image", image), input("mask", mask)};
    const std::array outputs = {output("clean", clean), output("matte", matte)};
    graphs_->run(PRIOR, inputs, outputs);
    check_finite(PRIOR, clean.values);
    check_finite(PRIOR, matte.values);
}

void GraphNetworks::denoise(ConstPlanes y, ConstPlanes mask, ConstPlanes x_t, const Step& step, Planes noise,
                            Planes shadow) {
    const auto t = static_cast<float>(step.t);
    Input time{"t", {1}, 1, &t};
    if (rows_) {
        const std::span<const float> row = rows_->row(static_cast<std::size_t>(step.row.value_or(0)));
        time = {"row", {1, row.size()}, 2, row.data()};
    }
    const std::array inputs = {input("image", y), input("mask", mask), input("x_t", x_t), time};
    const std::array outputs = {output("noise", noise), output("shadow", shadow)};
    const std::span wanted = outputs;
    if (shadow.absent())
        graphs_->run(DENOISER, inputs, wanted.first(1));
    else if (has_head_)
        graphs_->run_chain(DENOISER, inputs, wanted.first(1), "features", MASK_HEAD, outputs[1]);
    else
        graphs_->run(DENOISER, inputs, wanted);
    check_finite(DENOISER, noise.values);
    if (!shadow.absent()) check_finite(has_head_ ? MASK_HEAD : DENOISER, shadow.values);
}

}  // namespace shadowdiffusion
