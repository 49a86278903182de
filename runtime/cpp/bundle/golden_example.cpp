#include "bundle/golden_example.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "bundle/npy.h"
#include "errors.h"
#include "files.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

std::map<std::string, Npy> arrays(const Bundle& bundle, std::string_view name) {
    if (!bundle.has(name)) throw BundleError(text("bundle ", bundle.path.string(), " has no ", name, " to check against"));
    return parse_npz(read_file(bundle.path / name));
}

// An array [1, channels, H, W].
std::vector<float> image_of(const std::map<std::string, Npy>& arrays, const std::string& key, std::size_t channels,
                            Size size) {
    const Npy& array = arrays.at(key);
    if (array.shape != std::vector<std::size_t>{1, channels, size.first, size.second})
        throw std::runtime_error(text(key, " is ", array.described()));
    return array.floats();
}

Golden parse_golden(const std::map<std::string, Npy>& given, const std::map<std::string, Npy>& expected) {
    const std::vector<std::size_t>& shape = given.at("image").shape;
    if (shape.size() != 4) throw std::runtime_error(text("image is ", given.at("image").described()));
    const Size size = {shape[2], shape[3]};
    Golden golden{image_of(given, "image", 3, size), image_of(given, "mask", 1, size), image_of(expected, "x", 3, size),
                  size, given.at("seed").integer(), static_cast<std::int64_t>(given.at("steps").integer())};
    for (float& value : golden.x) value = std::clamp(value, 0.0f, 1.0f);
    return golden;
}

}  // namespace

Golden read_golden(const Bundle& bundle) {
    try {
        return parse_golden(arrays(bundle, GOLDEN_INPUT), arrays(bundle, GOLDEN_EXPECTED));
    } catch (const RestoreError&) {
        throw;
    } catch (const std::exception& error) {
        throw BundleError(text("the golden example of bundle ", bundle.path.string(), " is not readable: ", error.what()));
    }
}

double psnr(std::span<const float> result, std::span<const float> reference) {
    double sum = 0;
    for (std::size_t i = 0; i < reference.size(); ++i) {
        const double difference = static_cast<double>(result[i]) - static_cast<double>(reference[i]);
        sum += difference * difference;
    }
    if (sum == 0) return std::numeric_limits<double>::infinity();
    return -10 * std::log10(sum / static_cast<double>(reference.size()));
}

}  // namespace shadowdiffusion
