#include "cpu/refusals.h"

#include <doctest/doctest.h>

#include "errors.h"

using namespace shadowdiffusion;

std::string complaint(const std::vector<std::byte>& bytes) {
    try {
        parse_plan(bytes, "it");
        return "";
    } catch (const BundleError& error) {
        const std::string line = error.what(), begin = "it is no plan of a network: ";
        CHECK(line.find('\n') == std::string::npos);
        REQUIRE(line.starts_with(begin));
        return line.substr(begin.size());
    }
}

std::string complaint(PlanFile file, const std::function<void(PlanFile&)>& change) {
    change(file);
    return complaint(file.bytes());
}
