// Photos to files. A file appears whole or not at all: it is written under a hidden name beside its target,
// `.NAME.<random>.tmp`, and renamed. Only a process that is killed leaves one behind; nothing ever reads it. Twin of
// runtime/photo/writing.py.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "photo/formats.h"
#include "photo/image.h"

namespace shadowdiffusion {

// The format to write `path` in, by its name; throws PhotoError if it must not be written.
Format check_target(const std::string& path, bool overwrite);

// Write a photo in the format of the file name, atomically. Missing folders are made.
//
// quality: as of `encode_photo`. `finished` is called with the whole file before it takes its name. Throws PhotoError
// when it cannot be written; the target is then as it was.
void write_photo(const std::string& path, const Photo& photo, bool overwrite = false,
                 std::optional<int> quality = std::nullopt,
                 const std::function<void(const std::string&)>& finished = {});

}  // namespace shadowdiffusion
