#include "batch/work.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <filesystem>
#include <new>
#include <ranges>
#include <system_error>
#include <thread>

#include "batch/extras.h"
#include "batch/reading.h"
#include "batch/standing.h"
#include "bundle/digest.h"
#include "errors.h"
#include "photo/colour.h"
#include "photo/encoding.h"
#include "photo/path_names.h"
#include "photo/reading.h"
#include "photo/writing.h"
#include "text.h"

namespace shadowdiffusion {
namespace {

using Clock = std::chrono::steady_clock;

// Between looks at a photo that another process restores.
constexpr std::chrono::milliseconds PATIENCE{200};

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::string shown(const std::string& source) { return source == STDIN ? "stdin" : source; }

std::string hash_of(const std::vector<std::uint8_t>& data) {
    return sha256({reinterpret_cast<const char*>(data.data()), data.size()});
}

}  // namespace

Outcome Worker::operator()(const Job& job, bool patient) noexcept {
    const auto started = Clock::now();
    Outcome outcome;
    try {
        outcome.input = job.source;
        outcome.output = job.photo_target();
        process(job, patient, outcome);
    } catch (const Stopped&) {
        outcome.status = Status::dropped;
    } catch (const Cancelled&) {
        outcome.status = Status::dropped;
    } catch (const std::bad_alloc&) {
        outcome.error = "it does not fit into memory: choose fewer --jobs";
    } catch (const std::exception& error) {  // one photo must not end the others
        outcome.error = error.what();
    }
    outcome.seconds = seconds_since(started);
    return outcome;
}

void Worker::process(const Job& job, bool patient, Outcome& outcome) {
    const auto started = Clock::now();
    stop_.check();
    auto data = read_bytes(job.source, stop_);
    if (choices_.masks) outcome.mask = choices_.masks->of(job);
    std::vector<std::uint8_t> mask_data;
    if (outcome.mask) mask_data = read_bytes(*outcome.mask, stop_);
    const std::string name = shown(job.source);
    const Format form = job.into_stdout() ? choices_.format.value_or(sniff(data, name)) : format_of(job.photo_target());
    outcome.settings = settings_.record(form);
    Origin origin{hash_of(data), std::nullopt, settings_.bundle, outcome.settings};
    if (outcome.mask) origin.mask = hash_of(mask_data);
    if (due(job, origin, outcome.mask).empty()) {
        outcome.status = Status::skipped;
        return;
    }
    Photo photo = read_photo(data, name);
    outcome.warning = photo.warning;
    outcome.height = photo.pixels.height, outcome.width = photo.pixels.width;
    std::optional<Photo> mask;
    if (outcome.mask) mask = read_photo(mask_data, text("mask ", *outcome.mask));
    outcome.timings.emplace_back("read", seconds_since(started));
    data = {}, mask_data = {};  // they can be as large as the pixels

    const std::optional<Claim> mine = job.into_stdout() ? std::nullopt : claimed(job, patient);
    if (!mine && !job.into_stdout()) {
        outcome.status = Status::busy;
        return;
    }
    const std::vector<Due> wanted = due(job, origin, outcome.mask);  // while waiting it may have been made
    if (wanted.empty()) {
        outcome.status = Status::skipped;
        return;
    }
    const ProfileColours colours(photo.profile);
    Options asked = options(job, std::ranges::find(wanted, Kind::mask, &Due::kind) != wanted.end());
    if (!photo.profile.empty()) asked.colours = &colours;
    const ImageView mask_view = mask ? mask->pixels.view() : ImageView{};
    Restored restored = restorer_.restore(photo.pixels.view(), mask ? &mask_view : nullptr, asked);
    outcome.tile = restored.run.tile;
    const Timings& timings = restored.run.timings;
    outcome.timings.insert(outcome.timings.end(), {{"prepare", timings.prepare},
                                                   {"prior", timings.prior},
                                                   {"diffusion", timings.diffusion},
                                                   {"full size", timings.full_size}});
    stop_.check();
    write(wanted, photo, restored, origin, form, outcome);
    outcome.status = Status::restored;
}

// What to write where; the photo comes last, so that if it is there, all is. Throws PhotoError where something else
// would be lost.
std::vector<Worker::Due> Worker::due(const Job& job, const Origin& origin, const std::optional<std::string>& mask) {
    std::vector<Due> wanted;
    for (const auto& [kind, path] : job.targets | std::views::reverse) {
        if (path == STDOUT) {
            wanted.push_back({kind, path, false});
            continue;
        }
        if (mask && same_file(path, *mask)) throw PhotoError(text("cannot write ", path, ": it is the mask"));
        const auto [standing, what] = look(path, origin, notes_beside(path), job.source);
        if (standing == Standing::other && !choices_.overwrite)
            throw PhotoError(text("cannot write ", path, ": ", what, " (--overwrite replaces it)"));
        if (standing != Standing::done || choices_.force) wanted.push_back({kind, path, standing != Standing::absent});
    }
    return wanted;
}

// Keeps other processes from making the same; nothing if one is at it.
std::optional<Claim> Worker::claimed(const Job& job, bool patient) const {
    std::vector<std::string> targets;
    for (const auto& [kind, path] : job.targets) targets.push_back(path);
    try {
        if (const std::string folder(split_name(targets.front()).first); !folder.empty())
            std::filesystem::create_directories(folder);
        while (true) {
            auto mine = claim(targets);
            if (mine || !patient) return mine;
            stop_.check();
            std::this_thread::sleep_for(PATIENCE);
        }
    } catch (const std::system_error& error) {
        throw PhotoError(text("cannot write ", targets.front(), ": ", error.code().message()));
    }
}

Options Worker::options(const Job& job, bool with_mask) const {
    Options wanted;
    wanted.steps = settings_.steps;
    wanted.seed = settings_.seed;
    wanted.strength = settings_.strength;
    wanted.working_size = settings_.working_size;
    wanted.native = !settings_.working_size;
    wanted.warn = choices_.warn;
    wanted.with_mask = with_mask;
    wanted.progress = [this, &job](int done, int steps) {
        if (choices_.on_step) choices_.on_step(job, done, steps);
        return !stop_.asked();
    };
    return wanted;
}

void Worker::write(const std::vector<Due>& wanted, Photo& photo, Restored& restored, const Origin& origin, Format form,
                   Outcome& outcome) {
    const auto started = Clock::now();
    const auto [height, width] = std::pair(photo.pixels.height, photo.pixels.width);
    for (const auto& [kind, path, replaces] : wanted) {
        Photo picture;
        switch (kind) {
        case Kind::photo:
            picture = std::move(photo);
            picture.pixels = std::move(restored.image);
            break;
        case Kind::compare:
            picture = comparison(photo, restored.image);
            break;
        case Kind::mask:
            picture = mask_picture(restored.mask, height, width);
            break;
        case Kind::illumination:
            picture = illumination_picture(restored.illumination, restored.working, {height, width});
            break;
        }
        if (path == STDOUT) {
            outcome.picture = encode_photo(picture, form, settings_.quality_in(form),
                                           text("encode the photo as ", name_of(form)));
            continue;
        }
        write_photo(path, picture, replaces, settings_.quality_in(format_of(path)),
                    [&](const std::string& file) { note(path, origin, file); });
        if (kind != Kind::photo) outcome.extras.emplace_back(name_of(kind), path);
    }
    outcome.timings.emplace_back("write", seconds_since(started));
}

// Note what the file that is about to become `path` was made from.
void Worker::note(const std::string& path, const Origin& origin, const std::string& file) {
    try {
        notes_beside(path).add(std::string(split_name(path).second), {hash_of(file), origin});
    } catch (const std::system_error& error) {
        if (choices_.warn) choices_.warn(text(path, " will not be known as done: ", error.code().message()));
    }
}

Notes& Worker::notes_beside(const std::string& path) {
    const std::scoped_lock lock(mutex_);
    const std::string folder(split_name(path).first);
    return notes_.try_emplace(folder, folder).first->second;
}

}  // namespace shadowdiffusion
