#include "bundle/npy.h"

#include <zip.h>

#include <charconv>
#include <cstring>
#include <memory>
#include <stdexcept>

#include "text.h"

namespace shadowdiffusion {

namespace {

constexpr std::size_t LARGEST = std::size_t{1} << 30;  // bytes of an array in a zip file: bundles have small ones

[[noreturn]] void fail(const std::string& why) { throw std::runtime_error(why); }

// The text of the header after `key` and a colon: "'descr': '<f4', ..." -> "'<f4', ...".
std::string_view value_of(std::string_view header, std::string_view key) {
    const std::size_t at = header.find(text("'", key, "':"));
    if (at == std::string_view::npos) fail(text("its header has no ", key));
    std::string_view rest = header.substr(at + key.size() + 3);
    while (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
    return rest;
}

std::vector<std::size_t> shape_of(std::string_view rest) {
    const std::size_t end = rest.find(')');
    if (rest.empty() || rest.front() != '(' || end == std::string_view::npos) fail("its shape cannot be read");
    std::vector<std::size_t> shape;
    const char *at = rest.data() + 1, *last = rest.data() + end;
    while (at < last) {
        if (*at == ' ' || *at == ',') {
            ++at;
            continue;
        }
        std::size_t length = 0;
        const auto [next, error] = std::from_chars(at, last, length);
        if (error != std::errc() || shape.size() == 8) fail("its shape cannot be read");
        shape.push_back(length), at = next;
    }
    return shape;
}

}  // namespace

std::string Npy::described() const {
    std::string axes;
    for (const std::size_t length : shape) axes += text(axes.empty() ? "" : ", ", length);
    return text(type, "[", axes, "]");
}

std::vector<float> Npy::floats() const {
    if (type != "<f4") fail(text("it holds ", type, ", not float32"));
    std::vector<float> values(data.size() / sizeof(float));
    std::memcpy(values.data(), data.data(), values.size() * sizeof(float));
    return values;
}

std::uint64_t Npy::integer() const {
    if (!shape.empty() || (type != "<i8" && type != "<u8")) fail(text("it holds ", described(), ", not one integer"));
    std::uint64_t value = 0;
    std::memcpy(&value, data.data(), sizeof value);
    return value;
}

Npy parse_npy(std::span<const std::byte> raw) {
    constexpr std::string_view MAGIC = "\x93NUMPY";
    const std::string_view bytes(reinterpret_cast<const char*>(raw.data()), raw.size());
    if (!bytes.starts_with(MAGIC) || raw.size() < 12) fail("it is not an array of NumPy");
    const auto at = [&](std::size_t i) { return std::to_integer<std::size_t>(raw[i]); };
    const std::size_t version = at(6), prefix = version == 1 ? 10 : 12;
    if (version < 1 || version > 3) fail(text("its format version is ", version));
    const std::size_t length = at(8) + (at(9) << 8) + (version == 1 ? 0 : (at(10) << 16) + (at(11) << 24));
    if (length > raw.size() - prefix) fail("it is cut");
    const std::string_view header = bytes.substr(prefix, length);
    const std::string_view descr = value_of(header, "descr"), order = value_of(header, "fortran_order");
    Npy array;
    if (descr.size() < 5 || descr[0] != '\'' || descr[4] != '\'') fail("its type cannot be read");
    array.type = descr.substr(1, 3);
    const std::size_t each = array.type == "<f4" ? 4 : array.type == "<i8" || array.type == "<u8" ? 8 : 0;
    if (each == 0) fail(text("its type is ", array.type));
    if (!order.starts_with("False")) fail("it is in Fortran order");
    array.shape = shape_of(value_of(header, "shape"));
    const std::size_t have = raw.size() - prefix - length;
    std::size_t count = each;
    for (const std::size_t axis : array.shape)
        if (__builtin_mul_overflow(count, axis, &count)) fail("it is too large");
    if (count != have) fail(text("it has ", have, " bytes of data instead of ", count));
    const auto data = raw.subspan(prefix + length);
    array.data.assign(data.begin(), data.end());
    return array;
}

std::map<std::string, Npy> parse_npz(std::span<const std::byte> raw) {
    zip_error_t error;
    zip_error_init(&error);
    const auto complain = [&] {
        const std::string why = zip_error_strerror(&error);
        zip_error_fini(&error);
        fail(why);
    };
    zip_source_t* source = zip_source_buffer_create(raw.data(), raw.size(), 0, &error);
    if (source == nullptr) complain();
    const std::unique_ptr<zip_t, void (*)(zip_t*)> archive(zip_open_from_source(source, ZIP_RDONLY, &error), zip_discard);
    if (!archive) {
        zip_source_free(source);
        complain();
    }
    zip_error_fini(&error);
    std::map<std::string, Npy> arrays;
    const auto members = static_cast<zip_uint64_t>(zip_get_num_entries(archive.get(), 0));
    for (zip_uint64_t i = 0; i < members; ++i) {
        zip_stat_t about;
        if (zip_stat_index(archive.get(), i, 0, &about) != 0 || about.size > LARGEST) fail("a member cannot be read");
        const std::unique_ptr<zip_file_t, int (*)(zip_file_t*)> file(zip_fopen_index(archive.get(), i, 0), zip_fclose);
        std::vector<std::byte> member(static_cast<std::size_t>(about.size));
        if (!file || zip_fread(file.get(), member.data(), member.size()) != static_cast<zip_int64_t>(member.size()))
            fail(text(about.name, " cannot be read"));
        std::string name = about.name;
        if (name.ends_with(".npy")) name.resize(name.size() - 4);
        arrays[name] = parse_npy(member);
    }
    return arrays;
}

}  // namespace shadowdiffusion
