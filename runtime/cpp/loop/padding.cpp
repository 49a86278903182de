#include "loop/padding.h"

#include <algorithm>

namespace shadowdiffusion {

namespace {

// Where position i of an extended axis comes from.
std::size_t source(std::size_t i, std::size_t length, std::size_t extended) {
    if (i < length) return i;
    const bool mirrored = extended - length < length;
    return mirrored ? 2 * (length - 1) - i : length - 1;
}

}  // namespace

void pad(ConstPlanes image, Planes padded) {
    for (std::size_t c = 0; c < image.channels; ++c)
        for (std::size_t y = 0; y < padded.height; ++y) {
            const float* from = image.plane(c).data() + source(y, image.height, padded.height) * image.width;
            float* to = padded.plane(c).data() + y * padded.width;
            std::copy_n(from, image.width, to);
            for (std::size_t x = image.width; x < padded.width; ++x) to[x] = from[source(x, image.width, padded.width)];
        }
}

void crop(ConstPlanes padded, Planes image) {
    for (std::size_t c = 0; c < image.channels; ++c)
        for (std::size_t y = 0; y < image.height; ++y)
            std::copy_n(padded.plane(c).data() + y * padded.width, image.width, image.plane(c).data() + y * image.width);
}

}  // namespace shadowdiffusion
