#include <doctest/doctest.h>

#include <cstring>
#include <stdexcept>
#include <string>

#include "bundle/npy.h"
#include "files.h"

using namespace shadowdiffusion;

namespace {

std::vector<std::byte> array(std::string header, std::size_t data) {
    header.resize(118, ' ');
    std::string file = std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(header.size()) + '\0' + header + std::string(data, '\0');
    std::vector<std::byte> bytes(file.size());
    std::memcpy(bytes.data(), file.data(), file.size());
    return bytes;
}

}  // namespace

TEST_CASE("arrays as NumPy writes them") {
    const Npy rows = parse_npy(array("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 24));
    CHECK(rows.described() == "<f4[2, 3]");
    CHECK(rows.floats() == std::vector<float>(6));
    CHECK(parse_npy(array("{'descr': '<u8', 'fortran_order': False, 'shape': (), }", 8)).integer() == 0);
    const auto golden = parse_npz(read_file(BUNDLES "/shadow/golden/input.npz"));
    CHECK(golden.at("image").described() == "<f4[1, 3, 64, 96]");
}

TEST_CASE("what is no array, or no whole one, is refused") {
    CHECK_THROWS_AS(parse_npy({}), std::runtime_error);
    const char* bad[] = {"{'descr': '|O', 'fortran_order': False, 'shape': (2, 3), }",
                         "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 3), }",
                         "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }",
                         "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4), }",
                         "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3",
                         "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }",
                         "{'descr': '<f4', 'shape': (2, 3), }",
                         "{'fortran_order': False, 'shape': (9223372036854775807, 9223372036854775807)}"};
    for (const char* header : bad) {
        CAPTURE(header);
        CHECK_THROWS_AS(parse_npy(array(header, 24)), std::runtime_error);
    }
    std::vector<std::byte> cut = array("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 24);
    for (const std::size_t length : {3u, 9u, 11u, 40u, 80u}) {
        cut.resize(std::min<std::size_t>(length, cut.size()));
        CHECK_THROWS_AS(parse_npy(cut), std::runtime_error);
    }
    CHECK_THROWS_AS(parse_npz(cut), std::runtime_error);
}
