// What plans are refused with.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "cpu/plan_file.h"

// The line, without its beginning; "" where they are a plan.
std::string complaint(const std::vector<std::byte>& bytes);

// After a change of a plan.
std::string complaint(PlanFile file, const std::function<void(PlanFile&)>& change);
