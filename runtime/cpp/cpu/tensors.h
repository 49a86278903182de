// The tensors of a file in the format of safetensors.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "bundle/json.h"

namespace shadowdiffusion {

// Those of the types F32 and F16, as float32.
class Tensors {
  public:
    // `header`: the file's; `data`: what follows it. Throws json::Invalid for tensors of other types, or that are not in the data.
    Tensors(const json::Value& header, std::span<const std::byte> data);

    // Those of a name, as many as there must be, else throws json::Invalid at `path`.
    std::span<const float> of(const std::string& name, std::size_t count, const std::string& path) const;

    std::map<std::string, std::vector<float>> take() && { return std::move(values_); }

  private:
    std::map<std::string, std::vector<float>> values_;  // whose vectors stay where they are when they move into a plan
};

}  // namespace shadowdiffusion
