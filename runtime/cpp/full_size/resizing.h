// Smaller and larger: photos reduced without aliasing; small fields enlarged bilinearly, whole or a strip at a time.
#pragma once

#include "arena.h"
#include "fields.h"
#include "pixels.h"
#include "workers.h"

namespace shadowdiffusion {

// The size of a photo reduced to a long side of at most `long_side`; never enlarged.
Size reduced_size(Size whole, std::size_t long_side);

// A photo as floats in [0, 1] at its `reduced_size`, which is that of `small`.
void reduced(const ImageView& photo, Field small, Arena& arena, Workers& workers);

// The same for floats of any range: [H, W, C] to a size that is no larger, with a triangle filter, as libvips does it.
void reduced_to(ConstField field, Field small, Arena& arena, Workers& workers);

// Bilinear positions along one axis: pixel centres aligned, edges held.
struct Neighbours {
    std::span<std::size_t> first, second;
    std::span<float> weight;  // of the second
};
Neighbours neighbours(std::size_t length, std::size_t source, Arena& arena);

// A small field that reads as its bilinear enlargement, piece by piece, without ever being that large.
class Enlarged {
  public:
    // Pixels that a piece has at most.
    static constexpr std::size_t PIECE = 256;

    // height and width are not below those of the field.
    Enlarged(ConstField field, std::size_t height, std::size_t width, Arena& arena);

    // Pixels [x, x + count) of row y, [count, C].
    void piece(std::size_t y, std::size_t x, std::size_t count, float* out) const;

  private:
    ConstField field_;
    Neighbours rows_, columns_;
};

// The whole enlargement.
void enlarged(ConstField field, Field large, Arena& arena, Workers& workers);

}  // namespace shadowdiffusion
