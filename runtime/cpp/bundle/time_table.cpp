#include "bundle/time_table.h"

#include <algorithm>

#include "bundle/npy.h"
#include "errors.h"
#include "files.h"
#include "text.h"

namespace shadowdiffusion {

std::optional<TimeTable> read_rows(const Bundle& bundle) {
    if (!bundle.has(ROWS)) return {};
    const std::string what = text(ROWS, " of bundle ", bundle.path.string());
    Npy array;
    try {
        array = parse_npy(read_file(bundle.path / ROWS));
    } catch (const std::runtime_error& error) {
        throw BundleError(text(what, " is not readable: ", error.what()));
    }
    std::int64_t most = 0;
    for (const auto& [_, table] : bundle.manifest.sampling.tables)
        for (const Step& step : table) most = std::max(most, step.row.value_or(0));
    const std::size_t needed = 1 + static_cast<std::size_t>(most);
    if (array.type != "<f4" || array.shape.size() != 2 || array.shape[0] < needed)
        throw BundleError(text(what, " is ", array.described(), ", not float32 with at least ", needed, " rows"));
    return TimeTable{array.floats(), array.shape[1]};
}

}  // namespace shadowdiffusion
