#include "gpu/program.h"

#include <vector>

#include "errors.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

// What the kernels read of a network.
std::vector<std::string_view> read_of(std::string_view network) {
    if (network == PRIOR) return {"clean", "matte"};
    if (network == DENOISER) return {"noise", "shadow"};
    return {"shadow"};
}

// A type by TensorRT's name as kernels are named.
std::string kind_of(const std::string& type) {
    return type == "FLOAT" ? "fp32" : type == "HALF" ? "fp16" : type == "BF16" ? "bf16" : type;
}

}  // namespace

KernelNames::KernelNames(const Bundle& bundle, const DeviceNetworks& networks) {
    const Sampling& sampling = bundle.manifest.sampling;
    const std::int64_t multiple = bundle.manifest.model.multiple;
    if (multiple * multiple % 16 != 0)
        throw RestoreError(text("images are padded to multiples of ", multiple, " pixels, the kernels take multiples of 4"));
    for (const std::string_view network : {PRIOR, DENOISER, MASK_HEAD}) {
        if (!bundle.has(network)) continue;
        const Tensors& tensors = networks.tensors(network);
        for (const std::string_view name : read_of(network))
            if (const auto found = tensors.find(name); found != tensors.end() && found->second.type != "FLOAT")
                throw RestoreError(text(network, " of ", networks.title(), " gives ", name, " in ", found->second.type,
                                        ", not in FLOAT"));
    }
    const Tensors& denoiser = networks.tensors(DENOISER);
    const auto found = denoiser.find(PACKED_INPUT);
    const bool packed = found != denoiser.end();
    const std::string kind = packed ? kind_of(found->second.type) : "fp32";
    const std::string free = sampling.data_consistency ? "" : "_free";
    step = "prior_step_fp32" + (kind == "fp32" ? "" : "_to_" + kind) + (packed ? "_nchw" : "_state") + free;
    noisy_step = step + "_noise";
    last_step = "prior_step_fp32_last" + free;
    start = "start_state_" + kind + (packed ? "_nchw" : "_signed") + (sampling.start_alpha_bar ? "_prior" : "");
    const bool closed = sampling.mask_policy == MaskPolicy::closed_form;
    mask = closed ? "mask_update_fp32_closed_form" : "mask_update_fp32";
    depth = closed ? "confident_depth" : "";
}

std::set<std::string> KernelNames::all() const {
    std::set<std::string> names = {step, noisy_step, last_step, start, mask, depth, confident, illumination, blend};
    names.erase("");
    return names;
}

void Program::prior() const {
    const Workspace::Addresses& at = space_.at;
    const std::size_t plane = space_.area, pixels = space_.images * plane;
    if (plan_.blind && model_.everywhere()) cuda_.fill(at.mask, 1, pixels);
    if (!space_.prior) {
        cuda_.copy(at.clean, at.y, 3 * pixels * sizeof(float));
    } else {
        if (plan_.blind && !model_.everywhere()) {
            cuda_.fill(at.mask, static_cast<float>(model_.blind_mask), pixels);
            space_.prior->enqueue();
            launch(names_.confident, {{"mask", at.mask},
                                      {"matte", space_.prior->tensors().find("matte")->second.address},
                                      {"threshold", constants_.threshold()},
                                      {"plane", plane},
                                      {"matte_image", plane}});
        }
        space_.prior->enqueue();
    }
    cuda_.copy(at.seen, at.mask, pixels * sizeof(float));
    coefficients(names_.illumination, 0);
    if (!names_.depth.empty())
        launch(names_.depth, {{"sums", at.sums}, {"h", at.h}, {"mask", at.mask}, {"plane", plane}});
    launch(names_.start, {{"state", at.x},
                          {"network", at.condition},
                          {"y", at.y},
                          {"clean", at.clean},
                          {"mask", at.mask},
                          {"start", constants_.start()},
                          {"index", constants_.index(0)},
                          {"stream", at.stream},
                          {"plane", plane},
                          {"width", space_.size.second}});
}

void Program::diffusion() const {
    double rho = plan_.table[0].rho;
    for (std::size_t index = 0; index < plan_.table.size(); ++index) {
        const Step& of = plan_.table[index];
        const bool refines = plan_.refines(sampling_, index);
        cuda_.copy(space_.at.time, constants_.time(index), constants_.time_size());
        space_.denoiser->enqueue();
        if (refines) refine_mask(index);
        if (sampling_.data_consistency && of.rho != rho) {
            rho = of.rho;
            coefficients(names_.blend, index);
        }
        step(plan_.last(index) ? names_.last_step : of.sigma > 0 ? names_.noisy_step : names_.step, index, refines);
    }
}

void Program::refine_mask(std::size_t index) const {
    const Workspace::Addresses& at = space_.at;
    Execution* head = space_.head();
    if (head) head->enqueue();
    const Execution& finds = head ? *head : *space_.denoiser;
    launch(names_.mask, {{"refined", at.refined},
                         {"seen", at.seen},
                         {"v", finds.tensors().find("shadow")->second.address},
                         {"h", at.h},
                         {"mask", at.mask},
                         {"sums", at.sums},
                         {"table", constants_.table()},
                         {"index", constants_.index(index)},
                         {"plane", space_.area},
                         {"v_image", space_.area}});
}

void Program::coefficients(const std::string& name, std::size_t index) const {
    const Workspace::Addresses& at = space_.at;
    launch(name, {{"a", at.a},
                  {"b", at.b},
                  {"h", at.h},
                  {"y", at.y},
                  {"clean", at.clean},
                  {"limits", constants_.limits()},
                  {"table", constants_.table()},
                  {"index", constants_.index(index)},
                  {"plane", space_.area},
                  {"clean_image", 3 * space_.area},
                  {"clean_channel", space_.area}});
}

void Program::step(const std::string& name, std::size_t index, bool refined) const {
    const Workspace::Addresses& at = space_.at;
    launch(name, {{"out", at.x},
                  {"network", at.condition},
                  {"state", at.x},
                  {"estimate", space_.denoiser->tensors().find("noise")->second.address},
                  {"a", at.a},
                  {"b", at.b},
                  {"y", at.y},
                  {"mask", at.seen},
                  {"table", constants_.table()},
                  {"index", constants_.index(index)},
                  {"stream", at.stream},
                  {"plane", space_.area},
                  {"width", space_.size.second},
                  {"estimate_image", 3 * space_.area},
                  {"estimate_channel", space_.area},
                  {"condition", refined ? 1u : 0u}});  // of an input of seven channels, the first four only change with the mask
}

}  // namespace shadowdiffusion
