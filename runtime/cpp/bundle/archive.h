// A bundle as one zip file: unpacked once into the cache folder, which is then verified like any bundle. As in
// runtime/bundle/archive.py, but engines are left out, so the folder is another.
#pragma once

#include <filesystem>

#include "bundle/bundle.h"

namespace shadowdiffusion {

// The verified bundle in the zip file `path`, in a folder named by the file's SHA-256 that is written if need be. Throws
// BundleError for anything that `shadowdiffusion export pack` would not have written, and when the cache cannot be written.
Bundle load_archive(const std::filesystem::path& path);

}  // namespace shadowdiffusion
