#include <doctest/doctest.h>

#include <filesystem>
#include <random>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "batch/notes.h"
#include "folders.h"
#include "temporary.h"

using namespace shadowdiffusion;

namespace {

Note note(const std::string& sum = "h") { return {sum, {"i", std::nullopt, "b", {{"steps", 2}, {"strength", 1.0}}}}; }

std::string sum_of(Notes& notes, const std::string& name) {
    const auto found = notes.of(name);
    if (found) CHECK(found->origin.difference(note().origin).empty());
    return found ? found->sha256 : "";
}

}  // namespace

TEST_CASE("notes are found again, also by others") {
    const TemporaryFolder folder;
    Notes ours(folder.path()), theirs(folder.path());
    CHECK(sum_of(ours, "a.png").empty());
    const std::vector<std::string> names{"a.png",   "caf\xe9.png", "new\nline",   "\"quote\"", "\xc3\xbcn\xc3\xaf",
                                         "\\udce9", "\\\\udce9",   "\xed\xb3\xa9", "\xe2\x82",  "\xf0\x9f\x91\x8d\x80"};
    for (std::size_t i = 0; i < names.size(); ++i) ours.add(names[i], note(std::to_string(i)));
    for (std::size_t i = 0; i < names.size(); ++i) CHECK(sum_of(theirs, names[i]) == std::to_string(i));
    theirs.add("a.png", note("new"));
    CHECK(sum_of(ours, "a.png") == "new");
}

TEST_CASE("notes of the Python runtime are understood") {
    const TemporaryFolder folder;
    append(folder.path() / NOTES,
           R"({"file": "caf\udce9 \ud83d\udc4d.png", "sha256": "h", "input": "i", "mask": null, "bundle": "b", )"
           R"("settings": {"steps": 2, "strength": 1.0}})" "\n");
    Notes notes(folder.path());
    CHECK(sum_of(notes, "caf\xe9 \xf0\x9f\x91\x8d.png") == "h");
}

TEST_CASE("a torn or foreign line costs only itself") {
    const TemporaryFolder folder;
    Notes(folder.path()).add("a", note());
    const std::string deep(5000, '[');
    for (const std::string& torn :
         {std::string(R"({"file": "b", "sha2)"), "\n\n[]\n1\n{}\n\xff\n" + deep, std::string("{\"file\": \"b\"}\n"),
          std::string("{\"file\": 1}\n{\"file\": \"b\", \"settings\": 3, \"mask\": []}\n"),
          std::string("{\"file\": \"b\\udc\n{\"file\": \"\\ud800\n\\")}) {
        append(folder.path() / NOTES, torn);
        Notes(folder.path()).add("c", note());
        Notes fresh(folder.path());
        CHECK(sum_of(fresh, "a") == "h");
        CHECK(sum_of(fresh, "c") == "h");
        CHECK(!fresh.of("b"));
    }
}

TEST_CASE("no content of the file is an error") {
    std::mt19937 random;
    const std::string alphabet = "{}[]\",:\\ud8dce9 \n\n\xff\xc3 file";
    for (int run = 0; run < 200; ++run) {
        const TemporaryFolder folder;
        std::string bytes;
        for (int i = 0; i < 60; ++i) bytes += alphabet[random() % alphabet.size()];
        append(folder.path() / NOTES, bytes);
        Notes notes(folder.path());
        notes.add("known", note());
        CHECK(sum_of(notes, "known") == "h");
    }
}

TEST_CASE("a file that is removed or replaced is forgotten") {
    const TemporaryFolder folder;
    Notes notes(folder.path());
    notes.add("a", note());
    CHECK(sum_of(notes, "a") == "h");
    std::filesystem::remove(folder.path() / NOTES);
    CHECK(!notes.of("a"));
    notes.add("b", note());
    CHECK(sum_of(notes, "b") == "h");
    CHECK(!notes.of("a"));
}

TEST_CASE("many writers at once") {
    const TemporaryFolder folder;
    {
        std::vector<std::jthread> writers;
        for (int writer = 0; writer < 8; ++writer)
            writers.emplace_back([&folder, writer] {
                Notes notes(folder.path());
                for (int i = 0; i < 50; ++i) notes.add(std::to_string(writer) + "-" + std::to_string(i), note());
            });
    }
    Notes notes(folder.path());
    for (int writer = 0; writer < 8; ++writer)
        for (int i = 0; i < 50; ++i) CHECK(sum_of(notes, std::to_string(writer) + "-" + std::to_string(i)) == "h");
}

TEST_CASE("notes that cannot be written are an error, and those that cannot be read are none") {
    const TemporaryFolder folder;
    std::filesystem::create_directory(folder.path() / NOTES);
    Notes notes(folder.path());
    CHECK_THROWS_AS(notes.add("a", note()), std::system_error);
    CHECK(!notes.of("a"));
}

TEST_CASE("differences are said as in the Python runtime") {
    const Origin origin = note().origin;
    CHECK(origin.difference(origin).empty());
    Origin other = origin;
    other.settings = {{"steps", 5}, {"strength", 0.5}, {"more", 1}};
    CHECK(origin.difference(other) == "with steps 5, strength 0.5");
    other.settings = {{"steps", nullptr}, {"strength", 1}};
    CHECK(origin.difference(other) == "with steps None");
    other.settings = {{"steps", "native"}};
    CHECK(origin.difference(other) == "with steps native, strength None");
    other.bundle = "x";
    CHECK(origin.difference(other) == "from another bundle");
    other.mask = "x";
    CHECK(origin.difference(other) == "from another mask");
    other.input = "x";
    CHECK(origin.difference(other) == "from another photo");
}
