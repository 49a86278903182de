// manifest.json as structs, twins of those in runtime/bundle/folder.py: names, units and ranges are explained there.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>


namespace shadowdiffusion {

inline constexpr std::int64_t FORMAT_VERSION = 2;
inline constexpr std::string_view MANIFEST = "manifest.json";
inline constexpr std::string_view DENOISER = "denoiser.onnx";
inline constexpr std::string_view PRIOR = "prior.onnx";
inline constexpr std::string_view MASK_HEAD = "mask_head.onnx";
inline constexpr std::string_view ROWS = "denoiser.rows.npy";
inline constexpr std::string_view GOLDEN_INPUT = "golden/input.npz";
inline constexpr std::string_view GOLDEN_EXPECTED = "golden/expected.npz";
inline constexpr std::string_view ENGINES = "engines";

// h = clamp((y + photo_epsilon) / (clean + epsilon), floor, ceiling), images sRGB-encoded in [0, 1].
struct Illumination {
    double epsilon, floor, ceiling;
    double photo_epsilon;  // epsilon where the manifest does not state it; 0 in the authors' form
};

struct ModelInfo {
    std::string denoiser_size;
    std::int64_t denoiser_parameters;
    std::optional<std::int64_t> prior_parameters;  // none: the bundle has no prior.onnx
    std::int64_t multiple;                         // heights and widths fed to the networks are multiples of this
    std::int64_t working_size;                     // default long side at which the networks run, pixels
    Illumination illumination;
    double matte_threshold;  // without a mask, shadow is where the prior's matte reaches this; 0: everywhere
    double blind_mask;       // fed to the prior everywhere when no mask is known

    bool everywhere() const { return matte_threshold == 0; }
};

// One denoiser evaluation (DDIM, Song et al. 2021).
struct Step {
    std::int64_t t;                   // raw diffusion timestep
    double alpha_bar, alpha_bar_next;  // the latter 1 at the last step
    double sigma;                     // standard deviation of the fresh noise added after this step
    double rho;                       // weight of the diffusion estimate in the data-consistent update
    std::optional<std::int64_t> row;  // of denoiser.rows.npy; none: the denoiser takes t itself
};

enum class MaskPolicy { input, predicted, late, closed_form };

// As the manifest says it.
std::string_view name_of(MaskPolicy policy);

struct Sampling {
    std::int64_t default_steps;
    double eta = 0;  // what the tables were made with, as the next two
    std::string rho_schedule = "constant";
    double rho_gamma = 0;
    MaskPolicy mask_policy;
    bool data_consistency, clamp;
    std::optional<std::int64_t> start;  // timestep at which sampling starts from the prior's image; none: from noise
    std::int64_t T;
    std::optional<double> start_alpha_bar;
    std::map<std::string, std::vector<Step>> tables;  // by step count, in running order

    // The step counts that there is a table for, ascending.
    std::vector<std::int64_t> supported_steps() const;
};

// Size in bytes and lower-case hexadecimal SHA-256 of one file.
struct FileEntry {
    std::uint64_t size;
    std::string sha256;
};

struct Manifest {
    std::string name, task, created;
    ModelInfo model;
    Sampling sampling;
    std::map<std::string, FileEntry> files;  // every file but the manifest, by POSIX path relative to the bundle
};

// Decode and validate the bytes of a manifest; `source` names it in the BundleError of an invalid one.
Manifest parse_manifest(std::span<const std::byte> raw, std::string_view source = MANIFEST);

}  // namespace shadowdiffusion
