#include "batch/report.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "commands/console.h"
#include "text.h"

namespace shadowdiffusion {
namespace {

constexpr const char* CLEAR = "\r\x1b[K";
constexpr std::size_t BAR = 30;

std::string bar_of(std::size_t done, std::size_t total) {
    const std::size_t full = total == 0 ? 0 : std::min(BAR, BAR * done / total);
    return text("[", std::string(full, '#'), std::string(BAR - full, '-'), "] ");
}

std::string formatted(const char* format, double value) {
    char digits[64];
    std::snprintf(digits, sizeof digits, format, value);
    return digits;
}

std::string hours(double seconds) {
    const long whole = static_cast<long>(seconds + 0.5);
    char digits[64];
    std::snprintf(digits, sizeof digits, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
    return digits;
}

}  // namespace

void Report::draw(const std::string& line) {
    const std::scoped_lock lock(screen_);
    write_all(STDERR_FILENO, CLEAR + printable(line));
    drawn_ = true;
}

void Report::say(const std::string& message, const char* kind) {
    const std::scoped_lock lock(screen_);
    if (drawn_) write_all(STDERR_FILENO, CLEAR);
    drawn_ = false;
    complain(message, kind);
}

void Report::step(const std::string& name, int done, int steps) {
    if (shown_.bar && total_ == 1)
        draw(name + " " + bar_of(static_cast<std::size_t>(done), static_cast<std::size_t>(steps)));
}

void Report::add(const Outcome& outcome) {
    if (outcome.picture) {
        const auto* first = reinterpret_cast<const char*>(outcome.picture->data());
        if (!deliver({first, outcome.picture->size()})) return;
    }
    restored_ += outcome.status == Status::restored;
    skipped_ += outcome.status == Status::skipped;
    failed_ += outcome.status == Status::failed;
    if (!outcome.warning.empty()) say(outcome.warning, "warning");
    if (outcome.status == Status::failed) {
        const std::string error = outcome.error.value_or("");
        say(error.find(outcome.input) != std::string::npos ? error : outcome.input + ": " + error);
    }
    if (shown_.records) {
        deliver(outcome.record() + "\n");
    } else if (shown_.lines && (outcome.status == Status::restored || outcome.status == Status::skipped)) {
        double seconds = 0;
        for (const auto& [part, time] : outcome.timings) seconds += time;
        const std::string how = outcome.status == Status::skipped ? " (done before)" : formatted(" (%.1f s)", seconds);
        deliver(printable(outcome.input + " -> " + outcome.output.value_or("") + how) + "\n");
    }
    if (shown_.bar && total_ > 1) draw(bar_of(told(), total_) + pace());
}

void Report::refuse(const Problem& problem) {
    ++refused_;
    Outcome outcome;
    outcome.input = problem.name;
    outcome.error = problem.message;
    add(outcome);
}

int Report::end() {
    if (drawn_) write_all(STDERR_FILENO, CLEAR);
    drawn_ = false;
    const std::string of_all = text(" of ", total_, " photos ");
    if (stop_.signal() != 0) {
        if (stop_.signal() != SIGPIPE) say(text(restored_ + skipped_, of_all, "are done, run again for the rest"), "interrupted");
        return 128 + stop_.signal();
    }
    if (failed_ > 0 && total_ > 1) say(text(failed_, of_all, "failed"));
    return failed_ > 0 || stop_.asked() ? 1 : 0;
}

// How long a photo takes, and all that are left; what was done before says nothing about the rest.
std::string Report::pace() const {
    const std::size_t worked = restored_ + failed_ - refused_;
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - started_;
    const std::string shown = text(told(), " of ", total_);
    if (worked == 0) return shown;
    const double each = elapsed.count() / static_cast<double>(worked);
    const std::string rate = each < 1 ? formatted("%.1f photos/s", 1 / each) : formatted("%.1f s/photo", each);
    return text(shown, ", ", rate, ", ", hours(each * static_cast<double>(total_ - told())), " left");
}

// Write to stdout; false where that is impossible, which ends the run, as nobody would hear of the rest.
bool Report::deliver(std::string_view data) {
    {
        const std::scoped_lock lock(screen_);
        if (drawn_ && ::isatty(STDOUT_FILENO)) {
            write_all(STDERR_FILENO, CLEAR);
            drawn_ = false;
        }
    }
    if (stop_.asked() && stop_.signal() == SIGPIPE) return false;
    const int failed = write_all(STDOUT_FILENO, data);
    if (failed == 0) return true;
    stop_.now(failed == EPIPE ? SIGPIPE : 0);
    if (failed != EPIPE) {
        say(text("cannot write to stdout: ", std::strerror(failed)));
        const int nowhere = ::open("/dev/null", O_WRONLY);  // so that it is said once
        if (nowhere >= 0) ::dup2(nowhere, STDOUT_FILENO);
    }
    return false;
}

}  // namespace shadowdiffusion
