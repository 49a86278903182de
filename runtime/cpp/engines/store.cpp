#include "engines/store.h"

#include <nlohmann/json.hpp>
#include <system_error>

#include "bundle/digest.h"
#include "bundle/json.h"
#include "cache.h"
#include "errors.h"
#include "files.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

namespace fs = std::filesystem;
using json::Invalid;
using json::Object;
using json::Value;

constexpr std::string_view RECORD = "record.json";
constexpr std::int64_t RECORD_VERSION = 1;

std::optional<std::string> text_or_null(Object& object, std::string_view name) {
    if (object.at(name).is_null()) return {};
    return object.text(name);
}

EngineKey key_of(const Value& value, const std::string& path) {
    Object object(value, path);
    EngineKey key;
    key.device = text_or_null(object, "device");
    object.array("sm", [&](const Value& of, const std::string& at) { key.sm.push_back(json::int_of(of, at, {1})); });
    key.driver = text_or_null(object, "driver");
    key.backend = object.text("backend");
    key.backend_version = object.text("backend_version");
    key.provider = text_or_null(object, "provider");
    object.object("onnx", [&](const std::string& name, const Value& of, const std::string& at) { key.onnx[name] = json::text_of(of, at); });
    key.precision = object.text("precision");
    key.profile = object.text("profile");
    key.batch = object.text("batch");
    key.optimization_level = object.integer("optimization_level", {0, 5});
    object.array("flags", [&](const Value& of, const std::string& at) { key.flags.push_back(json::text_of(of, at)); });
    object.done();
    return key;
}

// The part of a record that is read here, once its version is known.
StoredEngine engine_of(const fs::path& folder, const Value& value) {
    Object object(value, "$");
    StoredEngine engine;
    engine.path = folder;
    engine.key = key_of(object.at("key"), "$.key");
    object.object("networks", [&](const std::string& name, const Value& of, const std::string& at) {
        Object network(of, at);
        engine.networks[name] = network.text("file");
    });
    object.object("files", [&](const std::string& name, const Value& of, const std::string& at) {
        Object file(of, at);
        if (fs::path(name).filename() != name || name.starts_with('.')) throw Invalid(text("`", name, "` is no name of a file"), at);
        engine.files[name] = {static_cast<std::uint64_t>(file.integer("size", {0})), file.text("sha256")};
    });
    for (const auto& [name, file] : engine.networks)
        if (!engine.files.contains(file)) throw Invalid(file + " is not among its files", "$");
    if (const Value& gate = object.at("gate"); !gate.is_null()) engine.gate = Object(gate, "$.gate").number("least");
    return engine;
}

}  // namespace

std::string EngineKey::digest() const {
    nlohmann::ordered_json fields;  // as the Python runtime writes it
    fields["device"] = device ? nlohmann::ordered_json(*device) : nlohmann::ordered_json();
    fields["sm"] = sm;
    fields["driver"] = driver ? nlohmann::ordered_json(*driver) : nlohmann::ordered_json();
    fields["backend"] = backend;
    fields["backend_version"] = backend_version;
    fields["provider"] = provider ? nlohmann::ordered_json(*provider) : nlohmann::ordered_json();
    fields["onnx"] = onnx;
    fields["precision"] = precision;
    fields["profile"] = profile;
    fields["batch"] = batch;
    fields["optimization_level"] = optimization_level;
    fields["flags"] = flags;
    return sha256(fields.dump()).substr(0, 10);
}

std::optional<std::string> StoredEngine::damage() const {
    if (!name().ends_with(text("_", key.digest()))) return text(RECORD, " is damaged (its key is not that of the folder's name)");
    for (const auto& [file, entry] : files)
        if (const auto problem = shadowdiffusion::damage(path, file, entry)) return text(file, " ", *problem);
    return {};
}

std::map<std::string, std::string> network_digests(const Bundle& bundle) {
    std::map<std::string, std::string> digests;
    for (const std::string_view name : {PRIOR, DENOISER, MASK_HEAD, ROWS})
        if (bundle.has(name)) digests[std::string(name)] = bundle.manifest.files.at(std::string(name)).sha256;
    return digests;
}

std::vector<fs::path> engine_folders(const Bundle& bundle) {
    std::string listed;  // as Python writes a list of pairs
    for (const auto& [name, digest] : network_digests(bundle))
        listed += text(listed.empty() ? "[" : ", ", "('", name, "', '", digest, "')");
    std::vector<fs::path> stores = {bundle.path / ENGINES};
    if (const auto cache = cache_folder(ENGINES)) stores.push_back(*cache / sha256(listed + "]").substr(0, 32));
    std::map<std::string, fs::path> found;
    for (const fs::path& store : stores) {
        std::error_code ignored;
        for (const auto& entry : fs::directory_iterator(store, ignored)) {
            const std::string name = entry.path().filename().string();
            if (!name.starts_with('.') && entry.is_directory(ignored)) found[name] = entry.path();
        }
    }
    std::vector<fs::path> folders;
    for (const auto& [_, folder] : found) folders.push_back(folder);
    return folders;
}

StoredEngine read_engine(const fs::path& folder) {
    const fs::path file = folder / RECORD;
    const std::string wrong = text(file.string(), " is not the record of an engine: ");
    std::vector<std::byte> raw;
    try {
        raw = read_file(file);
    } catch (const std::system_error& error) {
        throw BundleError(text(folder.string(), " is no engine: ", RECORD, " cannot be read (", error.code().message(), ")"));
    }
    try {
        const std::string_view characters(reinterpret_cast<const char*>(raw.data()), raw.size());
        const Value value = Value::parse(characters);
        Object object(value, "$");
        const std::int64_t version = object.integer("format_version");
        if (version != RECORD_VERSION)
            throw BundleError(text(file.string(), " has format version ", version, ", this runtime reads version ", RECORD_VERSION,
                                   ": ", version > RECORD_VERSION ? "upgrade shadowdiffusion" : "build the engine again"));
        StoredEngine engine = engine_of(folder, value);
        engine.digest = sha256(characters);
        return engine;
    } catch (const nlohmann::json::exception& error) {
        throw BundleError(text(wrong, "JSON is malformed: ", error.what()));
    } catch (const Invalid& error) {
        throw BundleError(wrong + error.what());
    }
}

}  // namespace shadowdiffusion
