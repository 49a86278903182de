// Arrays in NumPy's own file format (numpy.lib.format), and several of them in a zip file. Objects are never read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace shadowdiffusion {

// An array in C order.
struct Npy {
    std::string type;  // NumPy's: "<f4", "<i8", ...
    std::vector<std::size_t> shape;
    std::vector<std::byte> data;

    std::string described() const;     // "<f4[2, 3]"
    std::vector<float> floats() const;  // throws std::runtime_error unless it holds float32
    std::uint64_t integer() const;      // of an array without axes; throws std::runtime_error unless it is an integer
};

// Throw std::runtime_error for what is not a whole array.
Npy parse_npy(std::span<const std::byte> raw);
std::map<std::string, Npy> parse_npz(std::span<const std::byte> raw);

}  // namespace shadowdiffusion
