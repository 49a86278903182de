#include "pixels.h"

#include <algorithm>

#include "errors.h"
#include "text.h"

namespace shadowdiffusion {

void check_pixels(const ImageView& image, std::string_view name) {
    if (image.height == 0 || image.width == 0 || (image.bands != 1 && image.bands != 3))
        throw PhotoError(text(name, " has shape (", image.height, ", ", image.width, ", ", image.bands,
                              "), expected [height, width] or [height, width, 3]"));
    if (image.type != PixelType::float32) return;
    float least = image.row<float>(0)[0], most = least;
    bool numbers = true;
    for (std::size_t y = 0; y < image.height; ++y) {
        const float* row = image.row<float>(y);
        for (std::size_t i = 0; i < image.width * image.bands; ++i) {
            least = std::min(least, row[i]), most = std::max(most, row[i]);
            numbers = numbers && row[i] == row[i];
        }
    }
    if (!numbers) throw PhotoError(text(name, " has values that are not numbers, expected 0 to 1"));
    if (!(least >= 0 && most <= 1))
        throw PhotoError(text(name, " has values from ", least, " to ", most, ", expected 0 to 1"));
}

}  // namespace shadowdiffusion
