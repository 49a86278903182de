#include "photo/tiff_exif.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string_view>

namespace shadowdiffusion {
namespace {

using Bytes = std::vector<std::uint8_t>;
using View = std::span<const std::uint8_t>;

struct Folder;
// A value in little-endian order, or the folder that an entry leads to.
struct Entry {
    std::uint16_t type = 0;
    Bytes data;
    std::shared_ptr<const Folder> inner;
};
struct Folder {
    std::map<std::uint16_t, Entry> entries;
};

using namespace std::string_view_literals;
constexpr std::string_view PREFIX = "Exif\0\0"sv, LITTLE = "II*\0"sv, BIG = "MM\0*"sv;
constexpr std::uint16_t ORIENTATION = 0x0112, EXPOSURE = 0x8769, PLACE = 0x8825, INTEROPERABILITY = 0xA005;
// Make, model, software, date, artist, computer, two ratings, copyright; Windows' title, comment, author, keywords and
// subject: the tags of a first folder that say nothing about how the image is stored.
constexpr std::array<std::uint16_t, 16> CAMERA{0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x013C, 0x4746,   0x4749,
                                               0x8298, 0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F, EXPOSURE, PLACE};
// Width and height, which are for JPEG alone.
constexpr std::array<std::uint16_t, 2> STORED_SIZE{0xA002, 0xA003};
// Bytes of a value, by type; 0 for none.
constexpr std::array<std::uint8_t, 13> SIZES{0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8};
constexpr std::size_t MOST_VALUES = 256, LONGEST = 1 << 16;  // per folder, and bytes: more is no work of a camera

std::size_t size_of(std::uint16_t type) { return type < SIZES.size() ? SIZES[type] : 0; }

// Bytes that are turned around together, where the file has the other byte order; a fraction is two words.
std::size_t word_of(std::uint16_t type) { return type == 5 || type == 10 ? 4 : size_of(type); }

bool leads_on(std::uint16_t tag, int depth) {
    return depth == 0 ? tag == EXPOSURE || tag == PLACE : depth == 1 && tag == INTEROPERABILITY;
}

bool starts_with(View data, std::string_view start) {
    return data.size() >= start.size() && std::equal(start.begin(), start.end(), data.begin(),
                                                     [](char a, std::uint8_t b) { return std::uint8_t(a) == b; });
}

// Reads numbers of either byte order at any place; what lies beyond the end is no number.
class Reader {
  public:
    Reader(View file, bool little) : file_(file), little_(little) {}

    std::optional<std::uint32_t> number(std::uint64_t place, int bytes) const {
        if (place + static_cast<std::uint64_t>(bytes) > file_.size()) return std::nullopt;
        std::uint32_t value = 0;
        for (int i = 0; i < bytes; ++i) {
            const std::uint32_t byte = file_[place + static_cast<std::uint64_t>(i)];
            value |= byte << 8 * (little_ ? i : bytes - 1 - i);
        }
        return value;
    }

    // The value at `place` in little-endian order.
    std::optional<Bytes> value(std::uint64_t place, std::size_t size, std::size_t word) const {
        if (place + size > file_.size()) return std::nullopt;
        const View found = file_.subspan(place, size);
        Bytes data(found.begin(), found.end());
        if (!little_)
            for (std::size_t start = 0; start < size; start += word)
                std::reverse(data.begin() + std::ptrdiff_t(start), data.begin() + std::ptrdiff_t(start + word));
        return data;
    }

  private:
    View file_;
    bool little_;
};

// None where the file ends too early.
std::optional<Folder> read_folder(const Reader& file, std::uint32_t offset, int depth) {
    const auto count = file.number(offset, 2);
    if (!count) return std::nullopt;
    Folder folder;
    for (std::uint64_t i = 0; i < std::min<std::size_t>(*count, MOST_VALUES); ++i) {
        const std::uint64_t entry = offset + std::uint64_t{2} + 12 * i;
        const auto where = file.number(entry + 8, 4);
        if (!where) return std::nullopt;
        const auto tag = static_cast<std::uint16_t>(*file.number(entry, 2));
        const auto type = static_cast<std::uint16_t>(*file.number(entry + 2, 2));
        if (leads_on(tag, depth)) {
            auto inner = read_folder(file, *where, depth + 1);
            if (!inner) return std::nullopt;
            folder.entries[tag] = {4, {}, std::make_shared<const Folder>(std::move(*inner))};
            continue;
        }
        const std::uint64_t size = std::uint64_t{size_of(type)} * *file.number(entry + 4, 4);
        if (size == 0 || size > LONGEST) continue;
        if (auto data = file.value(size <= 4 ? entry + 8 : *where, size, word_of(type)))
            folder.entries[tag] = {type, std::move(*data), nullptr};
    }
    return folder;
}

// The first folder of a TIFF file or EXIF block; empty if it is damaged.
Folder read_first(View file) {
    if (starts_with(file, PREFIX)) file = file.subspan(PREFIX.size());
    const bool little = starts_with(file, LITTLE);
    if (!little && !starts_with(file, BIG)) return {};
    const Reader reader(file, little);
    const auto first = reader.number(4, 4);
    auto folder = first ? read_folder(reader, *first, 0) : std::nullopt;
    return folder ? std::move(*folder) : Folder{};
}

// What it has of `CAMERA`.
Folder read_camera(View file) {
    Folder folder = read_first(file);
    std::erase_if(folder.entries, [](const auto& entry) { return !std::ranges::count(CAMERA, entry.first); });
    return folder;
}

void append(Bytes& bytes, std::size_t value, int size) {
    for (int i = 0; i < size; ++i) bytes.push_back(static_cast<std::uint8_t>(value >> 8 * i));
}

Bytes entry_of(std::uint16_t tag, std::uint16_t type, std::size_t count, std::size_t place) {
    Bytes bytes;
    append(bytes, tag, 2);
    append(bytes, type, 2);
    append(bytes, count, 4);
    append(bytes, place, 4);
    return bytes;
}

// A folder and all it leads to, little-endian, for a place `start` bytes into the file; `entries` has some that stay as
// they are.
Bytes pack(const Folder& folder, std::size_t start, std::map<std::uint16_t, Bytes> entries = {}) {
    const std::size_t first_value = start + 2 + 12 * (folder.entries.size() + entries.size()) + 4;
    Bytes values;
    for (const auto& [tag, entry] : folder.entries) {
        const std::size_t here = first_value + values.size();
        if (entry.inner) {
            entries[tag] = entry_of(tag, 4, 1, here);
            std::ranges::copy(pack(*entry.inner, here), std::back_inserter(values));
            continue;
        }
        std::size_t place = here;
        if (entry.data.size() <= 4) {
            place = 0;
            for (std::size_t i = 0; i < entry.data.size(); ++i) place |= std::size_t{entry.data[i]} << 8 * i;
        } else {
            values.insert(values.end(), entry.data.begin(), entry.data.end());
            if (values.size() % 2 != 0) values.push_back(0);
        }
        entries[tag] = entry_of(tag, entry.type, entry.data.size() / size_of(entry.type), place);
    }
    Bytes bytes;
    append(bytes, entries.size(), 2);
    for (const auto& [tag, entry] : entries) bytes.insert(bytes.end(), entry.begin(), entry.end());
    append(bytes, 0, 4);
    bytes.insert(bytes.end(), values.begin(), values.end());
    return bytes;
}

}  // namespace

Bytes read_exif(View file) {
    const Folder camera = read_camera(file);
    if (camera.entries.empty()) return {};
    Bytes block(PREFIX.begin(), PREFIX.end());
    std::ranges::copy(LITTLE, std::back_inserter(block));
    append(block, 8, 4);
    std::ranges::copy(pack(camera, 8), std::back_inserter(block));
    return block;
}

void insert_exif(Bytes& file, View block) {
    Folder camera = read_camera(block);
    const auto exposure = camera.entries.find(EXPOSURE);
    if (exposure != camera.entries.end() && exposure->second.inner) {
        Folder stripped = *exposure->second.inner;
        for (const std::uint16_t tag : STORED_SIZE) stripped.entries.erase(tag);
        exposure->second.inner = std::make_shared<const Folder>(std::move(stripped));
    }
    if (!starts_with(file, LITTLE) || camera.entries.empty()) return;  // not as written on little-endian machines
    const Reader reader(file, true);
    const auto first = reader.number(4, 4);
    const auto count = first ? reader.number(*first, 2) : std::nullopt;
    if (!count) return;
    std::map<std::uint16_t, Bytes> others;
    for (std::uint64_t i = 0; i < *count; ++i) {
        const auto entry = reader.value(*first + std::uint64_t{2} + 12 * i, 12, 1);
        if (!entry) return;
        const auto tag = static_cast<std::uint16_t>((*entry)[0] | (*entry)[1] << 8);
        if (!camera.entries.contains(tag)) others[tag] = *entry;
    }
    if (file.size() % 2 != 0) file.push_back(0);  // folders begin at even offsets
    const std::size_t end = file.size();
    const Bytes packed = pack(camera, end, std::move(others));
    file.insert(file.end(), packed.begin(), packed.end());
    for (std::size_t i = 0; i < 4; ++i) file[4 + i] = static_cast<std::uint8_t>(end >> 8 * i);
}

int orientation_in(View block) {
    const Folder folder = read_first(block);
    const auto found = folder.entries.find(ORIENTATION);
    if (found == folder.entries.end() || found->second.data.empty()) return 1;
    const int orientation = found->second.data[0];
    return orientation >= 1 && orientation <= 8 ? orientation : 1;
}

}  // namespace shadowdiffusion
