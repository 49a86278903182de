// Runs of networks with inputs made up.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "cpu/naive_network.h"
#include "cpu/network.h"

// Inputs for an image of height x width pixels, noise between 0 and 1.
Planes inputs_of(const shadowdiffusion::Plan& plan, std::size_t height, std::size_t width, unsigned seed);

// What a network takes and gives, ready for calls that allocate nothing.
struct Call {
    // Outputs begin as NaN; `only`: one of them alone.
    Call(const shadowdiffusion::Plan& plan, std::size_t rows, std::size_t columns, const Planes& inputs, const std::string& only = "");
    Call(const Call&) = delete;
    void operator()(shadowdiffusion::CpuNetwork& network, const std::vector<float>& row) {
        network.run(height, width, given, row, wanted);
    }
    std::size_t height, width;
    Planes outputs;
    std::vector<shadowdiffusion::NamedInput> given;
    std::vector<shadowdiffusion::NamedOutput> wanted;
};

// All outputs of one call.
Planes outputs_of(shadowdiffusion::CpuNetwork& network, std::size_t height, std::size_t width, const Planes& inputs,
                  const std::vector<float>& row);
