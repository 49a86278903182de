#include "photo/vips.h"

#include <mutex>
#include <string_view>

namespace shadowdiffusion::vips {
namespace {

constexpr std::string_view SYSTEM = "system error: ";

// The line of a message of libvips that says most: what the system said, such as of a full disk, or else the last.
std::string reason(std::string_view messages) {
    std::string last = "no reason given";
    while (!messages.empty()) {
        const std::size_t end = std::min(messages.find('\n'), messages.size());
        const std::string_view line = messages.substr(0, end);
        messages.remove_prefix(std::min(end + 1, messages.size()));
        const std::size_t first = line.find_first_not_of(" \t\r");
        if (first == std::string_view::npos) continue;
        last = line.substr(first, line.find_last_not_of(" \t\r") - first + 1);
        if (last.starts_with(SYSTEM) && last.find("Unknown") == std::string::npos) return last.substr(SYSTEM.size());
    }
    return last;
}

void ignore(const gchar*, GLogLevelFlags, const gchar*, gpointer) {}

}  // namespace

void start() {
    static std::once_flag once;
    std::call_once(once, [] {
        if (VIPS_INIT("shadowdiffusion") != 0) throw Failure("libvips does not start: " + reason(vips_error_buffer()));
        vips_cache_set_max(0);                                            // every photo is read once
        g_log_set_handler("VIPS", G_LOG_LEVEL_WARNING, ignore, nullptr);  // what matters is an error with fail_on
    });
}

void use_threads(int count) {
    start();
    vips_concurrency_set(count);
}

void check(int failed) {
    if (failed == 0) return;
    const std::string what = reason(vips_error_buffer());  // shared by all threads, as in every user of libvips
    vips_error_clear();
    throw Failure(what);
}

Source source_of(std::span<const std::uint8_t> data) {
    start();
    return owned<Source>(vips_source_new_from_memory(data.data(), data.size()));
}

Image view(const void* pixels, std::size_t height, std::size_t width, std::size_t bands, VipsBandFormat format) {
    start();
    const std::size_t size = height * width * bands * vips_format_sizeof(format);
    return owned<Image>(vips_image_new_from_memory(pixels, size, static_cast<int>(width), static_cast<int>(height),
                                                   static_cast<int>(bands), format));
}

std::span<const std::uint8_t> blob(VipsImage* image, const char* field) {
    const void* data = nullptr;
    std::size_t size = 0;
    if (vips_image_get_typeof(image, field) != VIPS_TYPE_BLOB || vips_image_get_blob(image, field, &data, &size) != 0)
        return {};
    return {static_cast<const std::uint8_t*>(data), size};
}

void set_blob(VipsImage* image, const char* field, std::span<const std::uint8_t> data) {
    vips_image_set_blob_copy(image, field, data.data(), data.size());
}

}  // namespace shadowdiffusion::vips
