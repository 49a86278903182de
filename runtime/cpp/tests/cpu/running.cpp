#include "cpu/running.h"

#include <cmath>
#include <limits>

#include "cpu/grid.h"

using namespace shadowdiffusion;

Planes inputs_of(const Plan& plan, std::size_t height, std::size_t width, unsigned seed) {
    Numbers numbers(seed);
    Planes made;
    for (const auto& [name, port] : plan.inputs)
        for (const float value : numbers.some(port.channels * (height / port.shrink) * (width / port.shrink)))
            made[name].push_back(1 / (1 + std::exp(-value)));
    return made;
}

Call::Call(const Plan& plan, std::size_t rows, std::size_t columns, const Planes& inputs, const std::string& only)
    : height(rows), width(columns) {
    for (const auto& [name, planes] : inputs) given.push_back({name, planes.data()});
    for (const auto& [name, port] : plan.outputs) {
        if (!only.empty() && only != name) continue;
        std::vector<float>& planes = outputs[name];
        planes.assign(port.channels * (height / port.shrink) * (width / port.shrink), std::numeric_limits<float>::quiet_NaN());
        wanted.push_back({name, planes.data()});
    }
}

Planes outputs_of(CpuNetwork& network, std::size_t height, std::size_t width, const Planes& inputs, const std::vector<float>& row) {
    Call call(network.plan(), height, width, inputs);
    call(network, row);
    return call.outputs;
}
