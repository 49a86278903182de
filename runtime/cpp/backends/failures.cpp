#include "backends/failures.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <new>
#include <sstream>

#include "errors.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

// What the messages of OpenVINO and ONNX Runtime say where memory runs out, in lower case.
constexpr std::array<std::string_view, 5> OUT_OF_MEMORY = {"failed to allocate", "out of memory", "bad_alloc",
                                                           "bad allocation", "cannot allocate memory"};

bool is_out_of_memory(const std::exception& error) {
    if (dynamic_cast<const std::bad_alloc*>(&error)) return true;
    std::string message = error.what();
    std::ranges::transform(message, message.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return std::ranges::any_of(OUT_OF_MEMORY, [&](std::string_view words) { return message.find(words) != std::string::npos; });
}

}  // namespace

std::string one_line(std::string_view message) {
    std::istringstream words{std::string(message)};
    std::string line;
    for (std::string word; words >> word;) line += (line.empty() ? "" : " ") + word;
    return line;
}

void throw_failure(std::string_view name, std::size_t height, std::size_t width, const std::exception& error) {
    const std::string why = text(name, " failed at ", width, "x", height, " pixels: ", one_line(error.what()));
    if (is_out_of_memory(error)) throw OutOfMemoryError(why + " (memory ran out: use a smaller working size)");
    throw RestoreError(why);
}

bool all_finite(std::span<const float> values) {
    // a sum is finite exactly if all of the numbers times zero are, and needs no branch for each
    float zero = 0;
    for (const float value : values) zero += value * 0.0f;
    return zero == 0;
}

}  // namespace shadowdiffusion
