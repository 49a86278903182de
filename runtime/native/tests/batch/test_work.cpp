#include <doctest/doctest.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../photo/pictures.h"
#include "batch/work.h"
#include "folders.h"
#include "fake_networks.h"
#include "photo/writing.h"
#include "temporary.h"

using namespace shadowdiffusion;
namespace fs = std::filesystem;

namespace {

const Restorer& restorer() {
    static const auto made = fake_restorer(load_folder(BUNDLES "/shadow"), 1);
    return *made;
}

// A photo `in/a.png` of one colour, and what is made of it.
struct Desk {
    Desk() { paint("in/a.png", 60); }

    fs::path at(const std::string& name) const { return folder.path() / name; }

    void paint(const std::string& name, int value) const {
        Photo photo = picture(24, 32);
        std::ranges::fill(photo.pixels.bytes, std::byte(value));
        write_photo(at(name), photo, true);
    }

    Job job(const std::string& source = "in/a.png", const std::string& target = "out/a.png") const {
        return {at(source), fs::path(source).filename(), {{Kind::photo, at(target)}}};
    }

    Outcome restored(const Job& job, Worker::Choices choices = {}, const Settings& settings = SETTINGS) const {
        Worker worker(restorer(), settings, stop, std::move(choices));
        return worker(job);
    }
    Outcome restored(Worker::Choices choices = {}, const Settings& settings = SETTINGS) const {
        return restored(job(), std::move(choices), settings);
    }
    std::string error(Worker::Choices choices = {}, const Settings& settings = SETTINGS) const {
        return restored(std::move(choices), settings).error.value_or("");
    }

    static inline const Settings SETTINGS{"bundle", 2, 0, 1, 32, std::nullopt};
    TemporaryFolder folder;
    Stop stop;
};

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

const Worker::Choices FORCE{.masks = {}, .format = {}, .force = true, .on_step = {}, .warn = {}};
const Worker::Choices OVERWRITE{.masks = {}, .format = {}, .overwrite = true, .on_step = {}, .warn = {}};

Worker::Choices with_mask(const fs::path& mask) {
    return {.masks = Masks(mask, 1), .format = {}, .on_step = {}, .warn = {}};
}

}  // namespace

TEST_CASE("a photo is restored once") {
    const Desk desk;
    const Outcome first = desk.restored();
    CHECK(first.status == Status::restored);
    CHECK(!first.error);
    CHECK(names_in(desk.at("out")) == std::vector<std::string>{std::string(NOTES), "a.png"});
    CHECK(desk.restored().status == Status::skipped);
    CHECK(desk.restored(OVERWRITE).status == Status::skipped);
    CHECK(desk.restored(FORCE).status == Status::restored);
    CHECK(desk.restored().record().find("\"status\":\"skipped\"") != std::string::npos);
    fs::remove(desk.at("out/a.png"));
    CHECK(desk.restored().status == Status::restored);
}

TEST_CASE("what does not change the result does not matter") {
    const Desk desk;
    desk.restored();
    fs::rename(desk.at("in"), desk.at("elsewhere"));
    fs::rename(desk.at("out"), desk.at("results"));
    CHECK(desk.restored(desk.job("elsewhere/a.png", "results/a.png")).status == Status::skipped);
}

TEST_CASE("a result of other settings is not lost") {
    const Desk desk;
    desk.restored();
    const std::string before = bytes_of(desk.at("out/a.png"));
    Settings steps = Desk::SETTINGS, strength = Desk::SETTINGS, size = Desk::SETTINGS, bundle = Desk::SETTINGS;
    steps.steps = 5, strength.strength = 0.5, size.working_size.reset(), bundle.bundle = "other";
    for (const auto& [settings, message] : {std::pair(steps, "it exists already, made with steps 2"),
                                            std::pair(strength, "made with strength 1.0"),
                                            std::pair(size, "made with working_size 32"),
                                            std::pair(bundle, "made from another bundle")}) {
        for (const auto& choices : {Worker::Choices{}, FORCE}) CHECK(has(desk.error(choices, settings), message));
        CHECK(bytes_of(desk.at("out/a.png")) == before);
    }
    CHECK(desk.restored(OVERWRITE, strength).status == Status::restored);
    CHECK(desk.restored({}, strength).status == Status::skipped);
}

TEST_CASE("a file that is not ours is not lost") {
    const Desk desk;
    desk.restored();
    desk.paint("out/a.png", 5);
    const std::string edited = bytes_of(desk.at("out/a.png"));
    CHECK(has(desk.error(FORCE), "it was changed since it was made (--overwrite replaces it)"));
    CHECK(bytes_of(desk.at("out/a.png")) == edited);
    fs::remove(desk.at("out") / NOTES);
    CHECK(has(desk.error(), "it exists already (--overwrite replaces it)"));
    CHECK(desk.restored(OVERWRITE).status == Status::restored);
    desk.paint("in/a.png", 90);
    CHECK(has(desk.error(), "made from another photo"));
}

TEST_CASE("a file that appears meanwhile is not lost") {
    const Desk desk;
    Worker::Choices appear;
    appear.on_step = [&](const Job&, int, int) {
        if (!fs::exists(desk.at("out/a.png"))) append(desk.at("out/a.png"), "mine");
    };
    CHECK(has(desk.error(appear), "it exists already"));
    CHECK(bytes_of(desk.at("out/a.png")) == "mine");
}

TEST_CASE("the photo itself is replaced only on demand, and only once") {
    const Desk desk;
    const Job job = desk.job("in/a.png", "in/a.png");
    const std::string before = bytes_of(job.source);
    CHECK(has(desk.restored(job).error.value_or(""), "it is the photo itself (--overwrite replaces it)"));
    CHECK(bytes_of(job.source) == before);
    CHECK(desk.restored(job, OVERWRITE).status == Status::restored);
    CHECK(bytes_of(job.source) != before);
    CHECK(desk.restored(job, OVERWRITE).status == Status::skipped);  // it would be restored twice
    CHECK(desk.restored(job).status == Status::skipped);
    desk.paint("in/a.png", 77);
    CHECK(desk.restored(job).status == Status::failed);
    CHECK(desk.restored(job, OVERWRITE).status == Status::restored);
}

TEST_CASE("masks count as input and are never written") {
    const Desk desk;
    desk.paint("m.png", 200);
    CHECK(desk.restored(with_mask(desk.at("m.png"))).status == Status::restored);
    CHECK(desk.restored(with_mask(desk.at("m.png"))).status == Status::skipped);
    CHECK(has(desk.error(), "made from another mask"));
    desk.paint("m.png", 201);
    CHECK(has(desk.error(with_mask(desk.at("m.png"))), "made from another mask"));
    const std::string before = bytes_of(desk.at("m.png"));
    Worker::Choices over = with_mask(desk.at("m.png"));
    over.overwrite = true;
    CHECK(has(desk.restored(desk.job("in/a.png", "m.png"), over).error.value_or(""), "it is the mask"));
    CHECK(bytes_of(desk.at("m.png")) == before);
}

TEST_CASE("extras are made where they are missing") {
    const Desk desk;
    desk.restored();
    const auto written = fs::last_write_time(desk.at("out/a.png"));
    Job full = desk.job();
    full.targets.insert(full.targets.end(), {{Kind::compare, desk.at("out/a.compare.jpg")},
                                             {Kind::mask, desk.at("extra/a.mask.png")},
                                             {Kind::illumination, desk.at("extra/a.illumination.png")}});
    const Outcome outcome = desk.restored(full);
    CHECK(outcome.status == Status::restored);
    CHECK(outcome.extras.size() == 3);
    CHECK(fs::last_write_time(desk.at("out/a.png")) == written);
    CHECK(names_in(desk.at("extra")) ==
          std::vector<std::string>{std::string(NOTES), "a.illumination.png", "a.mask.png"});
    CHECK(desk.restored(full).status == Status::skipped);
    fs::remove(desk.at("out/a.compare.jpg"));
    CHECK(desk.restored(full).extras == std::vector{std::pair<std::string, std::string>("compare", desk.at("out/a.compare.jpg"))});
}

TEST_CASE("quality matters to lossy files only") {
    const Desk desk;
    Settings low = Desk::SETTINGS;
    low.quality = 20;
    for (const std::string target : {"out/a.png", "out/a.jpg"}) {
        const Job job = desk.job("in/a.png", target);
        CHECK(desk.restored(job).status == Status::restored);
        CHECK((desk.restored(job, {}, low).status == Status::skipped) == target.ends_with(".png"));
    }
    CHECK(has(desk.restored(desk.job("in/a.png", "out/a.jpg"), {}, low).error.value_or(""), "made with quality None"));
}

TEST_CASE("results that cannot be written") {
    const Desk desk;
    append(desk.at("file"), "");
    CHECK(has(desk.restored(desk.job("in/a.png", "file/out/a.png")).error.value_or(""), "Not a directory"));
    fs::create_directory(desk.at("b.png"));
    CHECK(has(desk.restored(desk.job("in/a.png", "b.png")).error.value_or(""), "is a folder"));
}

TEST_CASE("notes that cannot be written are a warning") {
    const Desk desk;
    fs::create_directories(desk.at("out") / NOTES);
    std::string warning;
    Worker::Choices choices;
    choices.warn = [&](const std::string& line) { warning = line; };
    CHECK(desk.restored(choices).status == Status::restored);
    CHECK(has(warning, "out/a.png will not be known as done: Is a directory"));
    CHECK(names_in(desk.at("out")) == std::vector<std::string>{std::string(NOTES), "a.png"});
}

TEST_CASE("asked to stop, the photo in hand is dropped") {
    Desk desk;
    Worker::Choices choices;
    choices.on_step = [&](const Job&, int, int) { desk.stop.now(); };
    CHECK(desk.restored(choices).status == Status::dropped);
    CHECK(names_in(desk.at("out")).empty());
    CHECK(desk.restored().status == Status::dropped);
}

TEST_CASE("what another process is at is left to it") {
    Desk desk;
    fs::create_directory(desk.at("out"));
    const Job job = desk.job();
    {
        const auto theirs = claim(std::vector{job.photo_target()});
        REQUIRE(theirs);
        CHECK(desk.restored().status == Status::busy);
        Stop stop;
        stop.now();
        Worker stopped(restorer(), Desk::SETTINGS, stop, {});
        CHECK(stopped(job, true).status == Status::dropped);
    }
    Worker waiting(restorer(), Desk::SETTINGS, desk.stop, {});
    CHECK(waiting(job, true).status == Status::restored);
    CHECK(names_in(desk.at("out")) == std::vector<std::string>{std::string(NOTES), "a.png"});
}
