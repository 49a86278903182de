// What is at the place of a result: nothing, this very result, or something else, which is not to be lost. Twin of
// runtime/batch/standing.py.
#pragma once

#include <string>

#include "batch/notes.h"

namespace shadowdiffusion {

enum class Standing { absent, done, other };

// What is there, and for something else what it is, as a phrase.
struct Place {
    Standing standing;
    std::string what;
};

// What is at `path`, where a result with this origin is to be; `source` is the photo's path.
//
// Where a photo is restored in its own place, what was made of it earlier is the result too, although it has become the
// input. Throws PhotoError for a folder, or a file that cannot be read.
Place look(const std::string& path, const Origin& origin, Notes& notes, const std::string& source);

// SHA-256 of a file. Throws PhotoError.
std::string hash_of(const std::string& path);

// Whether both are there, and one file.
bool same_file(const std::string& path, const std::string& other);

}  // namespace shadowdiffusion
