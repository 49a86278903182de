// Photos in, restored photos out.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bundle/bundle.h"
#include "fields.h"
#include "pixels.h"
#include "workers.h"

namespace shadowdiffusion {

// Called after each step with (done, steps), on the thread that restores; false ends with Cancelled.
using Progress = std::function<bool(int, int)>;

// Called with a line for people where a result is not as good as it could be.
using Warn = std::function<void(const std::string&)>;

// What is asked for of a photo.
struct Options {
    std::optional<std::int64_t> steps;         // one of the bundle's step counts
    std::uint64_t seed = 0;                    // the same seed gives the same result
    std::optional<std::int64_t> working_size;  // long side in pixels at which the networks run, never above the photo's
    bool native = false;                       // run them at the photo's own size, in tiles where that does not fit
    double strength = 1;                       // 0 leaves the photo as it is, 1 changes it in full
    bool with_prior = false, with_mask = true;  // what to return beside the photo; the mask costs time
    Progress progress;
    Warn warn;
};

// Seconds of each part.
struct Timings {
    double prepare = 0, prior = 0, diffusion = 0, full_size = 0;
    double total() const { return prepare + prior + diffusion + full_size; }
};

// What is known of a restoration beside its pictures.
struct Run {
    Timings timings;
    std::optional<Size> tile;  // of the tiles that `native` had to use; none: the networks ran in one piece
};

// A restored photo and what was found on the way. Reused for photos of one size, it keeps its memory.
struct Restored {
    Pixels image;                     // size, bands and type of the photo
    std::vector<float> mask;          // [H, W] in [0, 1], as the mask head refined it last; empty unless asked for
    Size working;                     // of the illumination
    std::vector<float> illumination;  // [h, w, 3]: photo / restored in linear light; 1 = unchanged, below 1 = darkened
    Pixels prior;                     // the degradation prior's result alone; no bytes unless asked for
    Run run;
};

// Where results go, as buffers of a caller; no data where one is not wanted.
struct Targets {
    MutableImageView image;
    std::span<float> mask;          // [H, W]
    std::span<float> illumination;  // [h, w, 3]
    MutableImageView prior;
};

class Loop;

// Opens what restores with a bundle; both it and the threads outlive the loop.
using OpenLoop = std::function<std::unique_ptr<Loop>(const Bundle&, Workers&)>;

// Restores photos with one bundle; may be called from several threads.
class Restorer {
  public:
    // threads: of everything but the networks; 0: one per core.
    Restorer(Bundle bundle, const OpenLoop& open, unsigned threads);
    ~Restorer();

    const Bundle& bundle() const;

    // What restores, for people.
    const std::string& title() const;

    // Restore a photo. mask: white = shadow, of the photo's size; null lets the prior find the shadow. The same input
    // and seed give the same result. Throws RestoreError.
    void restore(const ImageView& photo, const ImageView* mask, const Options& options, Restored& result) const;
    Restored restore(const ImageView& photo, const ImageView* mask = nullptr, const Options& options = {}) const;

    // The same into buffers of the caller. `targets.image` may be the photo.
    Run restore_into(const ImageView& photo, const ImageView* mask, const Options& options,
                         const Targets& targets) const;

    // The size at which the networks see a photo of `whole` pixels. Throws RestoreError for options that cannot be.
    Size working_size(Size whole, const Options& options) const;

    // Run the bundle's golden input and return the PSNR in dB against its golden output. Throws BundleError when the
    // golden files are absent or unreadable, or the PSNR is below GOLDEN_TOLERANCE.
    double check() const;

  private:
    const std::vector<Step>& checked(const Options& options) const;

    struct Parts;
    std::unique_ptr<Parts> parts_;
};

}  // namespace shadowdiffusion
