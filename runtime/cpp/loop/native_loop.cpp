#include "loop/native_loop.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <new>

#include "errors.h"
#include "loop/host_loop.h"
#include "loop/memory.h"
#include "loop/padding.h"
#include "loop/tiles.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

constexpr double GIB = 1 << 30;

std::string shown(Size size) { return text(size.second, "x", size.first); }

std::string gibibytes(double bytes) {
    char digits[64];
    std::snprintf(digits, sizeof digits, "%.1f", bytes / GIB);
    return digits;
}

double area(Size size) { return static_cast<double>(size.first) * static_cast<double>(size.second); }

}  // namespace

double network_bytes(const ModelInfo& model) {
    const auto bytes = [](std::int64_t parameters) { return 0.015 * std::pow(static_cast<double>(parameters), 0.7); };
    return bytes(model.prior_parameters.value_or(0)) + bytes(model.denoiser_parameters);
}

Choice fitting(Choice choice, Size whole, std::optional<std::int64_t> free, const ModelInfo& model) {
    const auto multiple = static_cast<std::size_t>(model.multiple);
    if (!free) return choice;
    const auto room = static_cast<double>(*free);
    const double loop = LOOP_BYTES * area(whole), each = network_bytes(model);
    if (loop > MEMORY_SHARE * room)
        throw OutOfMemoryError(text(shown(whole), " pixels do not fit into memory (", gibibytes(loop / MEMORY_SHARE),
                                    " GiB are needed, ", gibibytes(room), " are free): leave out native"));
    std::string why;
    while (true) {
        const double needed = (loop + each * area(choice.tile)) / MEMORY_SHARE;
        if (needed <= room) break;
        const Size tile = halved(choice.tile, whole, multiple);
        if (tile == choice.tile) break;  // it may work all the same: the estimate is a high one
        if (why.empty())
            why = text(shown(choice.tile), " needs ", gibibytes(needed), " GiB of memory, ", gibibytes(room), " are free");
        choice = {tile, why};
    }
    return choice;
}

Size halved(Size tile, Size whole, std::size_t multiple) {
    const bool down = tile.first >= tile.second;
    std::size_t& side = down ? tile.first : tile.second;
    const std::size_t length = down ? whole.first : whole.second;
    const std::size_t count = 2 * tile_count(length, side);
    const std::size_t even = (length + (count - 1) * OVERLAP + count - 1) / count;
    side = std::min(side, rounded_up(std::max(SMALLEST_TILE, even), multiple));
    return tile;
}

Working NativeLoop::restore(ConstPlanes image, ConstPlanes mask, const Wanted& wanted, Arena& arena) {
    const Size whole{rounded_up(image.height, multiple()), rounded_up(image.width, multiple())};
    const std::lock_guard turn(turn_);
    while (true) {
        const Choice choice = choice_for(whole, arena);
        const auto before = own_memory(), taken = static_cast<std::int64_t>(arena.held());
        Arena::Scope scope(arena);
        try {
            const Working found = run(choice, whole, image, mask, wanted, arena);
            scope.keep();
            const auto grown = static_cast<std::int64_t>(arena.held()) - taken;
            held_ = std::max(held_, own_memory() - before - grown);
            return found;
        } catch (const OutOfMemoryError& error) {
            known_[whole] = smaller(choice, whole, error.what());
        } catch (const std::bad_alloc&) {
            throw OutOfMemoryError(text(shown(whole), " pixels do not fit into memory: leave out native"));
        }
    }
}

// The tile for images of a padded size: the one that they had, or a smaller one if memory has become short.
const Choice& NativeLoop::choice_for(Size whole, const Arena& arena) {
    auto free = available_memory();
    if (free) *free += held_ + static_cast<std::int64_t>(arena.kept());
    const auto known = known_.find(whole);
    const Choice before = known == known_.end() ? Choice{whole, ""} : known->second;
    return known_[whole] = fitting(before, whole, free, bundle_.manifest.model);
}

Working NativeLoop::run(const Choice& choice, Size whole, ConstPlanes image, ConstPlanes mask, const Wanted& wanted,
                        Arena& arena) {
    if (choice.tile == whole) return loop_.restore(image, mask, wanted, arena);
    const std::size_t down = tile_count(whole.first, choice.tile.first);
    const std::size_t across = tile_count(whole.second, choice.tile.second);
    if (wanted.warn && *wanted.warn)
        (*wanted.warn)(text("native size ", shown(whole), " is run on ", across, "x", down, " overlapping tiles of ",
                            shown(choice.tile), " pixels, not quite as good as in one piece: ", choice.reason));
    TiledNetworks tiled(networks_, whole, choice.tile, multiple());
    Working found = HostLoop(bundle_, tiled, workers_).restore(image, mask, wanted, arena);
    found.tile = choice.tile;
    return found;
}

Choice NativeLoop::smaller(const Choice& choice, Size whole, const std::string& error) const {
    const Size tile = halved(choice.tile, whole, multiple());
    if (tile == choice.tile)
        throw OutOfMemoryError(text("memory ran out even with tiles of ", shown(tile),
                                    " pixels: leave out native, or end other programs (", error, ")"));
    return {tile, text("memory ran out (", error, ")")};
}

}  // namespace shadowdiffusion
