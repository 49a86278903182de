// Functions for the alternatives of a variant, as one that std::visit takes.
#pragma once

namespace shadowdiffusion {

template <class... Functions>
struct Overloaded : Functions... {
    using Functions::operator()...;
};
template <class... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;  // of itself only from Clang 17 on

}  // namespace shadowdiffusion
