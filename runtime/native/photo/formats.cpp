#include "photo/formats.h"

#include <algorithm>

#include "errors.h"
#include "photo/path_names.h"
#include "text.h"

namespace shadowdiffusion {

std::string_view name_of(Format form) {
    constexpr std::array<std::string_view, 4> names{"jpeg", "png", "webp", "tiff"};
    return names[static_cast<std::size_t>(form)];
}

std::size_t side_limit(Format form) {
    return form == Format::jpeg ? 65535 : form == Format::webp ? 16383 : std::size_t{1} << 31;
}

bool is_lossy(Format form) { return form == Format::jpeg || form == Format::webp; }

Format sniff(std::span<const std::uint8_t> file, std::string_view name) {
    const std::string_view start(reinterpret_cast<const char*>(file.data()), std::min<std::size_t>(file.size(), 16));
    if (start.empty()) throw PhotoError(text(name, " is empty"));
    if (start.starts_with("\xff\xd8\xff")) return Format::jpeg;
    if (start.starts_with("\x89PNG\r\n\x1a\n")) return Format::png;
    if (start.starts_with("RIFF") && start.size() >= 12 && start.substr(8, 4) == "WEBP") return Format::webp;
    using namespace std::string_view_literals;
    for (const auto magic : {"II*\0"sv, "MM\0*"sv, "II+\0"sv, "MM\0+"sv})
        if (start.starts_with(magic)) return Format::tiff;
    throw PhotoError(text(name, " is not a PNG, JPEG, WebP or TIFF image"));
}

std::string_view suffix_of(Format form) {
    return std::ranges::find(SUFFIXES, form, &std::pair<std::string_view, Format>::second)->first;
}

std::optional<Format> format_named(std::string_view path) {
    const std::string suffix = lower_case(suffix_in(path));
    const auto found = std::ranges::find(SUFFIXES, suffix, &std::pair<std::string_view, Format>::first);
    return found == SUFFIXES.end() ? std::nullopt : std::optional(found->second);
}

Format format_of(std::string_view path, std::optional<Format> form) {
    const std::optional<Format> named = format_named(path);
    const std::optional<Format> chosen = form ? form : named;
    if (!chosen) throw PhotoError(text("cannot write ", path, ": its name must end in one of ", SUFFIX_LIST));
    if (named && named != chosen)
        throw PhotoError(text("cannot write ", path, " as ", name_of(*chosen), ": its name says ", name_of(*named)));
    return *chosen;
}

void check_encoding(Format form, std::optional<int> quality) {
    if (!quality) return;
    if (!is_lossy(form))
        throw PhotoError(text(name_of(form), " is lossless and has no quality: leave out quality ", *quality,
                              ", or choose jpeg or webp"));
    if (*quality < 1 || *quality > 100)
        throw PhotoError(text("quality ", *quality, " is out of range: choose 1 to 100"));
}

}  // namespace shadowdiffusion
