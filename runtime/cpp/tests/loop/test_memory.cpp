#include <doctest/doctest.h>

#include <fstream>
#include <memory>
#include <string>

#include "loop/memory.h"
#include "temporary.h"

using namespace shadowdiffusion;

namespace {

constexpr std::int64_t GIB = std::int64_t{1} << 30;

void write(const std::filesystem::path& path, const std::string& words) {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << words;
}

void group(const std::filesystem::path& folder, const std::string& limit, std::int64_t used, std::int64_t cached = 0) {
    write(folder / "memory.max", limit + "\n");
    write(folder / "memory.current", std::to_string(used) + "\n");
    write(folder / "memory.stat", "anon 5\ninactive_file " + std::to_string(cached) + "\n");
}

// A machine with 8 GiB, and the control group `path`.
std::filesystem::path machine(const std::filesystem::path& root, const std::string& groups) {
    write(root / "proc/meminfo", "MemTotal:  99 kB\nMemAvailable:   " + std::to_string(8 * GIB / 1024) + " kB\nHugePages:  0\n");
    write(root / "proc/self/cgroup", groups);
    return root / "proc";
}

}  // namespace

TEST_CASE("the memory of the machine alone, of none that says it, and of this one") {
    const TemporaryFolder temporary;
    CHECK(available_memory(machine(temporary.path(), "0::/\n"), temporary.path() / "none") == 8 * GIB);
    CHECK_FALSE(available_memory(temporary.path(), temporary.path()).has_value());
    CHECK(own_memory(temporary.path()) == 0);
    CHECK(available_memory().value_or(GIB) > 1 << 20);
    const std::int64_t before = own_memory();
    const auto block = std::make_unique<unsigned char[]>(1 << 27);  // zeroed, so it is there
    CHECK(own_memory() - before > 1 << 26);
    CHECK(block[1 << 26] == 0);
}

TEST_CASE("the smallest limit of all memory groups around counts") {
    for (const auto& [path, left] : {std::pair{"/", 5 * GIB}, {"/app/worker", 2 * GIB}, {"/not/seen/from/here", 5 * GIB}}) {
        const TemporaryFolder temporary;
        const auto proc = machine(temporary.path(), std::string("0::") + path + "\n");
        group(temporary.path() / "cgroup", std::to_string(6 * GIB), GIB);
        group(temporary.path() / "cgroup/app", std::to_string(3 * GIB), 2 * GIB, GIB);
        group(temporary.path() / "cgroup/app/worker", "max", GIB);
        CHECK(available_memory(proc, temporary.path() / "cgroup") == left);
    }
    const TemporaryFolder full;
    group(full.path() / "cgroup", std::to_string(GIB), GIB + 4096);
    CHECK(available_memory(machine(full.path(), "0::/\n"), full.path() / "cgroup") == 0);
}

TEST_CASE("memory groups of the first version") {
    const TemporaryFolder temporary;
    const auto proc = machine(temporary.path(), "9:cpu,cpuacct:/box\n4:memory:/box\n0::/\n");
    for (const auto& [inner, limit] : {std::pair{"cgroup/memory/box", 2 * GIB}, {"cgroup/memory", 9223372036854771712}}) {
        write(temporary.path() / inner / "memory.limit_in_bytes", std::to_string(limit));
        write(temporary.path() / inner / "memory.usage_in_bytes", std::to_string(GIB));
        write(temporary.path() / inner / "memory.stat", "inactive_file 7\ntotal_inactive_file " + std::to_string(GIB / 2) + "\n");
    }
    CHECK(available_memory(proc, temporary.path() / "cgroup") == 3 * GIB / 2);
}
