// A plan, step by step in double precision, each map in memory of its own.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "cpu/plan.h"

// Planes by name.
using Planes = std::map<std::string, std::vector<float>>;

// All outputs: [channels, height / shrink, width / shrink] of an image of height x width pixels.
std::map<std::string, std::vector<double>> run_naively(const shadowdiffusion::Plan& plan, std::size_t height, std::size_t width,
                                                       const Planes& inputs, std::span<const float> row);
