#include "cpu/photos.h"

#include <algorithm>
#include <cmath>

using namespace shadowdiffusion;

namespace {

Grid noise(Numbers& numbers, std::size_t height, std::size_t width, std::size_t channels, float mean, float deviation) {
    Grid made(height, width, channels);
    const std::vector<float> values = numbers.some(made.values.size(), mean, deviation);
    made.values.assign(values.begin(), values.end());
    return made;
}

}  // namespace

std::vector<Shadowed> shadowed_photos(std::size_t height, std::size_t width, std::size_t shrink) {
    Numbers numbers(14);
    // logits fall from the middle to the sides
    Grid matte = noise(numbers, height, width, 1, 0, 0.3f);
    for (std::size_t y = 0; y < height; ++y)
        for (std::size_t x = 0; x < width; ++x) {
            const double down = static_cast<double>(y) / static_cast<double>(height) - 0.5;
            const double across = static_cast<double>(x) / static_cast<double>(width) - 0.5;
            matte.pixel(y, x)[0] += 8 - 30 * std::hypot(down, across);
        }
    const Grid surface = noise(numbers, height, width, 3, 0.6f, 0.1f);
    Grid image = surface;
    for (std::size_t i = 0; i < image.values.size(); ++i) {
        const double shade = 1 - (0.75 + 0.05 * static_cast<double>(i % 3)) * logistic(matte.values[i / 3]);
        image.values[i] = encoded_of(std::clamp(linear_of(std::clamp(image.values[i], 0.0, 1.0)) * shade, 0.0, 1.0));
    }
    const auto fields = [&] { return noise(numbers, height / shrink, width / shrink, 3, -0.4f, 0.5f); };
    const Grid weight = fields(), veil = fields();
    const auto all = [](const Grid& like, double value) { return mapped([=](double) { return value; }, like); };
    std::vector<Shadowed> made = {
        {"shadow", image, {weight, veil, matte}},
        {"black", all(image, 0), {weight, veil, matte}},
        {"white", all(image, 1), {weight, veil, matte}},
        {"all shadow", image, {weight, veil, all(matte, 6)}},
        {"no shadow", image, {weight, veil, all(matte, -6)}},
        {"noise", mapped([](double x) { return logistic(4 * x - 2); }, surface),
         {noise(numbers, height / shrink, width / shrink, 3, 0, 3), veil, noise(numbers, height, width, 1, 0, 3)}},
        {"huge logits", image, {all(weight, 200), all(veil, -200), mapped([](double x) { return 1e3 * x; }, matte)}},
    };
    for (Shadowed& photo : made)  // as kernels see it
        for (Grid* grid : {&photo.image, &photo.heads.weight, &photo.heads.veil, &photo.heads.matte})
            for (double& value : grid->values) value = static_cast<double>(static_cast<float>(value));
    return made;
}

std::vector<float> planes_of(const Grid& grid) {
    std::vector<float> made;
    for (std::size_t c = 0; c < grid.channels; ++c)
        for (std::size_t i = 0; i < grid.height * grid.width; ++i) made.push_back(static_cast<float>(grid.values[i * grid.channels + c]));
    return made;
}

Grid grid_of(const std::vector<float>& planes, std::size_t channels, std::size_t height, std::size_t width) {
    Grid made(height, width, channels);
    for (std::size_t i = 0; i < planes.size(); ++i)
        made.values[i % (height * width) * channels + i / (height * width)] = static_cast<double>(planes[i]);
    return made;
}

FloatMap map_of(const Grid& grid, std::size_t patch, std::size_t channels) {
    FloatMap made(grid.height / patch, grid.width / patch, channels);
    const Channels& to = made.channels();
    for (std::size_t y = 0; y < grid.height; ++y)
        for (std::size_t x = 0; x < grid.width; ++x)
            for (std::size_t c = 0; c < grid.channels; ++c)
                to.channel((c * patch + y % patch) * patch + x % patch)[(y / patch * to.width + x / patch) * LANES] =
                    static_cast<float>(grid.pixel(y, x)[c]);
    return made;
}
