#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "batch/claims.h"
#include "folders.h"
#include "temporary.h"

using namespace shadowdiffusion;

namespace {

std::optional<Claim> claim_one(const std::string& target) { return claim(std::vector{target}); }

}  // namespace

TEST_CASE("one holder at a time, and nothing stays") {
    const TemporaryFolder folder;
    const std::string target = folder.path() / "a.png";
    {
        const auto first = claim_one(target);
        CHECK(first);
        CHECK(!claim_one(target));
        CHECK(claim_one(folder.path() / "b.png"));
    }
    CHECK(claim_one(target));
    CHECK(names_in(folder.path()).empty());
}

TEST_CASE("the claim of a killed process is free, and its remains are removed") {
    const TemporaryFolder folder;
    std::vector<std::string> kept{".a.png.01234567.tmp.jpg", ".a.png.0123abcd.tmpx", ".a.png.notrando.tmp",
                                  ".b.png.0123abcd.tmp"};
    for (const std::string& name : kept) append(folder.path() / name, "");
    for (const char* name : {".a.png.0123abcd.tmp", ".a.mask.png.0123abcd.tmp"}) append(folder.path() / name, "");
    const std::vector<std::string> targets{folder.path() / "a.png", folder.path() / "a.mask.png",
                                           folder.path() / "elsewhere" / "x.png"};
    int held[2] = {};
    REQUIRE(::pipe(held) == 0);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {  // before the process has threads
        const auto mine = claim(targets);
        const char byte = mine ? '1' : '0';
        if (::write(held[1], &byte, 1) != 1) ::_exit(1);
        ::pause();
        ::_exit(0);
    }
    char byte = 0;
    CHECK(::read(held[0], &byte, 1) == 1);
    CHECK(byte == '1');
    CHECK(!claim(targets));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    ::close(held[0]), ::close(held[1]);
    CHECK(std::ranges::count(names_in(folder.path()), ".a.png.lock") == 1);
    CHECK(claim(targets));
    CHECK(names_in(folder.path()) == kept);
}

TEST_CASE("a folder that is missing is an error") {
    const TemporaryFolder folder;
    CHECK_THROWS_AS(claim_one(folder.path() / "gone" / "a.png"), std::system_error);
}
