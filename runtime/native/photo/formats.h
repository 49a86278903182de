// The four kinds of image files: how they are told apart, and what each can hold. Twin of runtime/photo/formats.py.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace shadowdiffusion {

enum class Format { jpeg, png, webp, tiff };

// The format of each file name extension; the first of a format is the usual one.
inline constexpr std::array<std::pair<std::string_view, Format>, 6> SUFFIXES{{{".jpg", Format::jpeg},
                                                                              {".jpeg", Format::jpeg},
                                                                              {".png", Format::png},
                                                                              {".webp", Format::webp},
                                                                              {".tif", Format::tiff},
                                                                              {".tiff", Format::tiff}}};
// For messages: what a file name may end in.
inline constexpr std::string_view SUFFIX_LIST = ".jpg, .jpeg, .png, .webp, .tif, .tiff";

// Of lossy files, unless another is asked for.
inline constexpr int QUALITY = 95;

// "jpeg", "png", "webp" or "tiff".
std::string_view name_of(Format form);

// The most pixels a side.
std::size_t side_limit(Format form);

// JPEG and WebP have a quality, and hold 8 bits only.
bool is_lossy(Format form);

// The format by a file's first 16 bytes, so that only four known decoders ever see a file. `name` is for the
// PhotoError when it is none of them.
Format sniff(std::span<const std::uint8_t> file, std::string_view name);

// The usual file name extension of a format, with its dot.
std::string_view suffix_of(Format form);

// The format that a file name tells by its extension, in any case.
std::optional<Format> format_named(std::string_view path);

// The format to write `path` in: `form` where given, otherwise that of its name. Throws PhotoError where the name tells
// none, or another than `form`.
Format format_of(std::string_view path, std::optional<Format> form = std::nullopt);

// Throws PhotoError unless a file of format `form` can be written at `quality`: 1 to 100, none for the usual.
void check_encoding(Format form, std::optional<int> quality);

}  // namespace shadowdiffusion
