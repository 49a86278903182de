// Engines: the networks of a bundle compiled ahead for one device. What their records say, and where they are found. Twin
// of runtime/bundle/engines.py, which explains the fields.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bundle/bundle.h"

namespace shadowdiffusion {

// Everything an engine depends on.
struct EngineKey {
    std::optional<std::string> device, driver;
    std::vector<std::int64_t> sm;  // empty: any that the backend supports
    std::string backend, backend_version;
    std::optional<std::string> provider;
    std::map<std::string, std::string> onnx;  // SHA-256 of the files it was built from
    std::string precision, profile, batch;
    std::int64_t optimization_level = 0;
    std::vector<std::string> flags;

    // The first 10 hexadecimal digits of its SHA-256, with which the name of its folder ends.
    std::string digest() const;
};

// An engine folder with a valid record.
struct StoredEngine {
    std::filesystem::path path;
    EngineKey key;
    std::map<std::string, std::string, std::less<>> networks;  // the file of each, by the name of the ONNX file
    std::map<std::string, FileEntry> files;
    std::optional<double> gate;  // dB against float32 that the accuracy gate asked for
    std::string digest;          // SHA-256 of the record

    std::string name() const { return path.filename().string(); }

    // What is wrong with it, as a phrase, or nothing if its name and all its files are as recorded.
    std::optional<std::string> damage() const;
};

// SHA-256 of every network file of the bundle, by name.
std::map<std::string, std::string> network_digests(const Bundle& bundle);

// Every engine folder of the bundle, readable or not: its own, and those of the cache; of two with one name the latter.
std::vector<std::filesystem::path> engine_folders(const Bundle& bundle);

// Throws BundleError if the record is missing, invalid, or of another version.
StoredEngine read_engine(const std::filesystem::path& folder);

}  // namespace shadowdiffusion
