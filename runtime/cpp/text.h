// Text from values: messages in one expression, as g++ 12 has no std::format.
#pragma once

#include <sstream>
#include <string>

namespace shadowdiffusion {

// All values, one after the other, as a stream would write them.
template <class... Values>
std::string text(const Values&... values) {
    std::ostringstream stream;
    (stream << ... << values);
    return std::move(stream).str();
}

}  // namespace shadowdiffusion
