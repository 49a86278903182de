// What the results in a folder were made from: the file `.shadowdiffusion.jsonl` among them, one JSON object per line,
// which the Python runtime reads and writes too. Twin of runtime/batch/notes.py.
//
// A line is appended just before its result takes its name, so that every result of ours is known, whenever a process
// is killed; of several lines for one name the last counts. A result is known by the hash of its bytes: one that was
// edited since is the user's own file. Without the file nothing is lost, but results are no longer known.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "batch/settings.h"

namespace shadowdiffusion {

inline constexpr std::string_view NOTES = ".shadowdiffusion.jsonl";

// All that a result depends on; hashes are SHA-256, hexadecimal.
struct Origin {
    std::string input;
    std::optional<std::string> mask;
    std::string bundle;
    Record settings;

    // In what `other` differs, for people; "" if in nothing.
    std::string difference(const Origin& other) const;
};

// What is known of one file.
struct Note {
    std::string sha256;
    Origin origin;
};

// The notes in one folder; other threads and processes may add to them at any time.
class Notes {
  public:
    explicit Notes(const std::string& folder);

    // What is known of the file `name`.
    std::optional<Note> of(const std::string& name);

    // Append a note. Throws std::system_error if that is impossible.
    void add(const std::string& name, const Note& note);

  private:
    void catch_up();
    void forget();

    std::string path_;
    std::map<std::string, std::string> lines_;
    std::size_t read_ = 0;
    std::mutex mutex_;
};

}  // namespace shadowdiffusion
