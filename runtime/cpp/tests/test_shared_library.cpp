#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>

#include "errors.h"
#include "shared_library.h"
#include "temporary.h"

using namespace shadowdiffusion;

TEST_CASE("a library is looked for where the environment says, else where it was built for, else by the loader") {
    constexpr const char* VARIABLE = "SHADOWDIFFUSION_TEST_LIBRARY";
    const std::vector<std::string> names = {"libthing.so.1", "libthing.so"};
    ::unsetenv(VARIABLE);
    CHECK(library_candidates(VARIABLE, "", names) == names);
    CHECK(library_candidates(VARIABLE, "/built/libthing.so", names) ==
          std::vector<std::string>{"/built/libthing.so", "libthing.so.1", "libthing.so"});
    ::setenv(VARIABLE, "/elsewhere/any.so", 1);
    CHECK(library_candidates(VARIABLE, "/built/libthing.so", names) == std::vector<std::string>{"/elsewhere/any.so"});
    const TemporaryFolder folder;
    ::setenv(VARIABLE, folder.path().c_str(), 1);
    CHECK(library_candidates(VARIABLE, "", names) == std::vector<std::string>{folder.path() / "libthing.so.1"});
    std::ofstream(folder.path() / "libthing.so.1.2.3") << "no library";
    CHECK(library_candidates(VARIABLE, "", names) == std::vector<std::string>{folder.path() / "libthing.so.1.2.3"});
    ::unsetenv(VARIABLE);
}

TEST_CASE("what cannot be opened, or lacks a function, is one line that says so") {
    CHECK_THROWS_WITH_AS(SharedLibrary("Thing", {"/nowhere/a.so", "/nowhere/b.so"}, "install it"),
                         "Thing is missing (/nowhere/a.so: cannot open shared object file: No such file or directory; "
                         "/nowhere/b.so: cannot open shared object file: No such file or directory): install it",
                         RestoreError);
    const SharedLibrary here("the C library", {"libc.so.6"}, "there is one");
    CHECK(here.function<int (*)(int)>("abs")(-3) == 3);
    CHECK(here.find("no_such_function") == nullptr);
    CHECK_THROWS_WITH_AS(here.function<int (*)(int)>("no_such_function"),
                         "libc.so.6 has no no_such_function: install another version of it", RestoreError);
}
