// What became of one photo, and its record for programs. Twin of runtime/batch/outcome.py.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "batch/settings.h"

namespace shadowdiffusion {

// skipped: it was done before; dropped: the user interrupted it; busy: another process is at it.
enum class Status { restored, skipped, failed, dropped, busy };

struct Outcome {
    std::string input;
    std::optional<std::string> output;
    Status status = Status::failed;
    std::optional<std::string> error;
    // What the user should know although it was restored; "" if nothing.
    std::string warning;
    double seconds = 0;
    // Seconds of each part; `seconds` is more, as it includes waiting for the networks.
    std::vector<std::pair<std::string, double>> timings;
    std::optional<std::size_t> width, height;
    // (height, width) in pixels of the tiles that --native had to use.
    std::optional<std::pair<std::size_t, std::size_t>> tile;
    std::optional<std::string> mask;
    // Files written beside the result, by kind.
    std::vector<std::pair<std::string, std::string>> extras;
    // What the result depends on; nothing where nothing was tried.
    Record settings = Record::object();
    // What stdout is to get.
    std::optional<std::vector<std::uint8_t>> picture;

    // As JSON on one line, with the fields of the Python runtime: everything but the picture.
    std::string record() const;
};

}  // namespace shadowdiffusion
