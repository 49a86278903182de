#include "restorer.h"

#include <mutex>
#include <new>

#include "arena.h"
#include "bundle/golden_example.h"
#include "clock.h"
#include "errors.h"
#include "forks.h"
#include "loop/loop.h"
#include "loop/native_loop.h"
#include "text.h"
#include "working_photo.h"
#include "workers.h"

namespace shadowdiffusion {

struct Restorer::Parts {
    Parts(Bundle of, const OpenLoop& open, unsigned threads)
        : bundle(std::move(of)), workers(threads), loop(open(bundle, workers)),
          native(bundle, loop->networks(), *loop, workers) {}

    Bundle bundle;
    Workers workers;
    std::unique_ptr<Loop> loop;
    NativeLoop native;
    WaitedForMutex mutex;
    std::vector<std::unique_ptr<Arena>> idle;  // kept for the next photo, one for each that was in hand at once

    // An arena for one photo.
    class Lease {
      public:
        explicit Lease(Parts& parts) : parts_(parts) {
            const std::lock_guard lock(parts.mutex);
            if (parts.idle.empty()) {
                arena_ = std::make_unique<Arena>();
                parts.idle.reserve(++parts.leases);  // so that giving back never allocates
            } else {
                arena_ = std::move(parts.idle.back());
                parts.idle.pop_back();
            }
        }
        ~Lease() {
            try {
                arena_->settle();
            } catch (const std::bad_alloc&) {  // the next photo takes what it needs
                arena_ = std::make_unique<Arena>();
            }
            const std::lock_guard lock(parts_.mutex);
            parts_.idle.push_back(std::move(arena_));
        }
        Lease(const Lease&) = delete;
        Lease& operator=(const Lease&) = delete;
        Arena& arena() const { return *arena_; }

      private:
        Parts& parts_;
        std::unique_ptr<Arena> arena_;
    };
    std::size_t leases = 0;
};

Restorer::Restorer(Bundle bundle, const OpenLoop& open, unsigned threads)
    : parts_(std::make_unique<Parts>(std::move(bundle), open, threads)) {}

Restorer::~Restorer() = default;

const Bundle& Restorer::bundle() const { return parts_->bundle; }

const std::string& Restorer::title() const { return parts_->loop->title(); }

Size Restorer::working_size(Size whole, const Options& options) const {
    if (options.native && options.working_size)
        throw RestoreError(
            text("native means the photo's own size: leave out working size ", *options.working_size));
    const std::int64_t side = options.working_size.value_or(parts_->bundle.manifest.model.working_size);
    if (side < 1) throw RestoreError(text("working size ", side, " is too small: choose at least 1 pixel"));
    return options.native ? whole : WorkingPhoto::size_of(whole, static_cast<std::size_t>(side));
}

// The steps that are asked for. Throws RestoreError for options that cannot be.
const std::vector<Step>& Restorer::checked(const Options& options) const {
    const std::vector<Step>& table = parts_->bundle.table(options.steps);
    if (!(options.strength >= 0 && options.strength <= 1))
        throw RestoreError(
            text("strength ", options.strength, " is out of range: choose 0 (nothing is changed) to 1"));
    return table;
}

Run Restorer::restore_into(const ImageView& photo, const ImageView* mask, const Options& options,
                           const Targets& targets) const {
    const std::vector<Step>& table = checked(options);  // complain before any work
    check_pixels(photo, "the photo");
    const Size size = working_size({photo.height, photo.width}, options);
    const Parts::Lease lease(*parts_);
    try {
        const Arena::Scope scope(lease.arena());
        WorkingPhoto working(photo, mask, size, lease.arena(), parts_->workers);
        const Wanted wanted{table, options.seed, options.with_mask && !targets.mask.empty(), &options.progress, &options.warn};
        Loop& loop = options.native ? static_cast<Loop&>(parts_->native) : *parts_->loop;
        const Working found = loop.restore(working.planes(), working.mask(), wanted, lease.arena());
        return working.carry(found, options.strength, targets);
    } catch (const std::bad_alloc&) {
        const char* instead = options.native ? "leave out native" : "use a smaller working size, or a smaller photo";
        throw OutOfMemoryError(text(photo.width, "x", photo.height, " pixels do not fit into memory: ", instead));
    }
}

void Restorer::restore(const ImageView& photo, const ImageView* mask, const Options& options, Restored& result) const {
    const auto [height, width] = result.working = working_size({photo.height, photo.width}, options);
    result.image.shape(photo.type, photo.height, photo.width, photo.bands);
    result.prior.shape(photo.type, options.with_prior ? photo.height : 0, photo.width, photo.bands);
    result.mask.resize(options.with_mask ? photo.height * photo.width : 0);
    result.illumination.resize(height * width * 3);
    const Targets targets{result.image.view(), result.mask, result.illumination,
                          options.with_prior ? result.prior.view() : MutableImageView{}};
    result.run = restore_into(photo, mask, options, targets);
}

Restored Restorer::restore(const ImageView& photo, const ImageView* mask, const Options& options) const {
    Restored result;
    restore(photo, mask, options, result);
    return result;
}

double Restorer::check() const {
    const Golden golden = read_golden(parts_->bundle);
    const auto [height, width] = golden.size;
    const Parts::Lease lease(*parts_);
    const Arena::Scope scope(lease.arena());
    const Wanted wanted{parts_->bundle.table(golden.steps), golden.seed, false};
    const ConstPlanes image{golden.image, 3, height, width}, mask{golden.mask, 1, height, width};
    const Working found = parts_->loop->restore(image, mask, wanted, lease.arena());
    const double reached = psnr(found.image.values, golden.x);
    if (!(reached >= GOLDEN_TOLERANCE))
        throw BundleError(text("bundle ", parts_->bundle.path.string(), " reproduces its golden output to ", reached,
                               " dB only, ", GOLDEN_TOLERANCE,
                               " dB are needed: results on this machine cannot be trusted"));
    return reached;
}

}  // namespace shadowdiffusion
