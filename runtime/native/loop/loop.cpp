#include "loop/loop.h"

namespace shadowdiffusion {

std::vector<Working> Loop::restore_many(std::span<const WorkingImage> images, const Wanted& wanted, Arena& arena) {
    std::vector<Working> found;
    const int count = static_cast<int>(images.size());
    for (const WorkingImage& one : images) {
        const int before = static_cast<int>(found.size());
        const Progress among_all = [&](int done, int steps) {
            return (*wanted.progress)(before * steps + done, count * steps);
        };
        Wanted alone = wanted;
        if (wanted.progress && *wanted.progress) alone.progress = &among_all;
        found.push_back(restore(one.image, one.mask, alone, arena));
    }
    return found;
}

}  // namespace shadowdiffusion
