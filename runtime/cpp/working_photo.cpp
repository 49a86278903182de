#include "working_photo.h"

#include <algorithm>

#include "errors.h"
#include "full_size/brightening.h"
#include "full_size/illumination.h"
#include "full_size/resizing.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

// [H, W, C] -> [C, H, W].
void to_planes(ConstField field, Planes planes) {
    for (std::size_t c = 0; c < planes.channels; ++c) {
        float* out = planes.plane(c).data();
        const float* in = field.values.data() + c;
        for (std::size_t i = 0; i < planes.area(); ++i) out[i] = in[i * field.channels];
    }
}

// [C, H, W] -> [H, W, C].
void to_rows(ConstPlanes planes, Field field) {
    for (std::size_t c = 0; c < planes.channels; ++c) {
        const float* in = planes.plane(c).data();
        float* out = field.values.data() + c;
        for (std::size_t i = 0; i < planes.area(); ++i) out[i * field.channels] = in[i];
    }
}

bool is_black(const ImageView& mask) {
    const auto any = [&]<class T>(const T*) {
        for (std::size_t y = 0; y < mask.height; ++y)
            if (std::any_of(mask.row<T>(y), mask.row<T>(y) + mask.width * mask.bands, [](T v) { return v != 0; }))
                return true;
        return false;
    };
    if (mask.type == PixelType::uint8) return !any(static_cast<const std::uint8_t*>(nullptr));
    if (mask.type == PixelType::uint16) return !any(static_cast<const std::uint16_t*>(nullptr));
    return !any(static_cast<const float*>(nullptr));
}

void check_mask(const ImageView& mask, const ImageView& photo) {
    check_pixels(mask, "mask");
    if (mask.height != photo.height || mask.width != photo.width)
        throw PhotoError(text("mask is ", mask.width, "x", mask.height, " pixels, the photo ", photo.width, "x",
                              photo.height, ": they must be the same size"));
    if (is_black(mask)) throw PhotoError("mask is all black: there is nothing to restore (white marks shadow)");
}

// [h, w, 1 or 3] -> its luminance [h, w].
void to_luminance(ConstField field, std::span<float> grey) {
    for (std::size_t i = 0; i < grey.size(); ++i) {
        const float* pixel = field.values.data() + i * field.channels;
        grey[i] = field.channels == 1 ? pixel[0]
                                      : pixel[0] * LUMINANCE[0] + pixel[1] * LUMINANCE[1] + pixel[2] * LUMINANCE[2];
    }
}

// [h, w, 1 or 3] -> [h, w, 3]: grey in each band.
void to_colour(ConstField field, std::span<float> colours) {
    for (std::size_t i = 0; i < colours.size(); ++i) colours[i] = field.values[field.channels == 1 ? i / 3 : i];
}

}  // namespace

Size WorkingPhoto::size_of(Size whole, std::size_t long_side) { return reduced_size(whole, long_side); }

WorkingPhoto::WorkingPhoto(const ImageView& photo, const ImageView* mask, Size size, Arena& arena, Workers& workers)
    : photo_(photo), size_(size), arena_(arena), workers_(workers) {
    const Stopwatch watch;
    const auto [height, width] = size;
    const auto planes = [&, height = height, width = width](std::size_t channels) {  // named for clang 14
        return Planes{arena.take<float>(channels * height * width), channels, height, width};
    };
    small_ = field(photo.bands), seen_ = field(3), planes_ = planes(3);
    if (mask) {
        check_mask(*mask, photo);
        mask_ = planes(1);
        const Arena::Scope scope(arena);
        const Field reduced_mask = field(mask->bands);
        reduced(*mask, reduced_mask, arena, workers);
        to_luminance(reduced_mask, mask_.values);
    }
    reduced(photo, small_, arena, workers);
    to_colour(small_, seen_.values);
    to_planes(seen_, planes_);
    seconds_ = watch.seconds();
}

Run WorkingPhoto::carry(const Working& found, double strength, const Targets& targets) {
    const Stopwatch watch;
    // the photo itself comes last, as the result may take its place
    if (!targets.illumination.empty()) {
        const Arena::Scope scope(arena_);
        const Field restored = field(3), gain = field(3);
        to_rows(found.image, restored);
        log_gain(seen_, restored, gain, workers_);
        inverse_gain(gain, targets.illumination, workers_);
    }
    if (!found.mask.absent() && !targets.mask.empty()) {
        const auto [height, width] = size_;
        enlarged(ConstField{found.mask.values, height, width, 1},
                 Field{targets.mask, photo_.height, photo_.width, 1}, arena_, workers_);
    }
    if (targets.prior.data) carry_picture(found.clean, strength, targets.prior);
    if (targets.image.data) carry_picture(found.image, strength, targets.image);
    const Timings timings{seconds_, found.prior_seconds, found.diffusion_seconds, watch.seconds()};
    return {timings, found.tile};
}

Field WorkingPhoto::field(std::size_t channels) const {
    const auto [height, width] = size_;
    return {arena_.take<float>(height * width * channels), height, width, channels};
}

// [h, w, 3] -> with the bands of the photo.
ConstField WorkingPhoto::own_bands(ConstField colours) const {
    if (photo_.bands == 3) return colours;
    const Field own = field(1);
    to_luminance(colours, own.values);
    return own;
}

void WorkingPhoto::carry_picture(ConstPlanes restored, double strength, const MutableImageView& target) {
    const Arena::Scope scope(arena_);
    const Field rows = field(3), gain = field(photo_.bands);
    to_rows(restored, rows);
    log_gain(own_bands(seen_), own_bands(rows), gain, workers_);
    brighten(photo_, small_, gain, static_cast<float>(strength), target, arena_, workers_);
}

}  // namespace shadowdiffusion
