#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "bundle/contradictions.h"
#include "bundle/manifest.h"
#include "errors.h"
#include "files.h"

using namespace shadowdiffusion;
using nlohmann::json;

namespace {

json good() {
    const auto raw = read_file(BUNDLES "/shadow/manifest.json");
    const auto* text = reinterpret_cast<const char*>(raw.data());
    return json::parse(text, text + raw.size());
}

// What parsing says of a manifest, "" if nothing.
std::string complaint(const std::string& raw) {
    try {
        parse_manifest(std::as_bytes(std::span(raw)));
        return "";
    } catch (const BundleError& error) {
        return error.what();
    }
}
std::string complaint(const json& manifest) { return complaint(manifest.dump()); }

}  // namespace

TEST_CASE("the built-in manifest is read as it is written") {
    const auto raw = read_file(BUNDLES "/shadow/manifest.json");
    const Manifest manifest = parse_manifest(raw);
    CHECK(manifest.task == "shadow");
    CHECK(manifest.model.multiple == 16);
    CHECK(manifest.sampling.supported_steps() == std::vector<std::int64_t>{1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25});
    CHECK(manifest.sampling.tables.at("1")[0].alpha_bar == 0.6563470055193468);
    CHECK(manifest.sampling.tables.at("1")[0].row == 58);
    CHECK(manifest.files.at("prior.onnx").size == good()["files"]["prior.onnx"]["size"]);
    CHECK(complaint(good()) == "");
}

TEST_CASE("what a manifest may not be is said with the place") {
    const std::string begin = "manifest.json is not a valid manifest: ";
    json manifest = good();
    std::string expected;
    SUBCASE("wrong type") {
        manifest["model"]["multiple"] = "16";
        expected = begin + "Expected `int`, got `str` - at `$.model.multiple`";
    }
    SUBCASE("out of range") {
        manifest["model"]["multiple"] = 1024;
        expected = begin + "Expected `int` <= 512 - at `$.model.multiple`";
    }
    SUBCASE("missing") {
        manifest["sampling"].erase("T");
        expected = begin + "Object missing required field `T` - at `$.sampling`";
    }
    SUBCASE("unknown") {
        manifest["extra"] = 1;
        expected = begin + "Object contains unknown field `extra`";
    }
    SUBCASE("another format") {
        manifest["format_version"] = 3;
        expected = "manifest.json has format version 3, this runtime reads version 2: upgrade shadowdiffusion";
    }
    SUBCASE("an older format, whatever else it has") {
        manifest = {{"format_version", 1}};
        expected = "manifest.json has format version 1, this runtime reads version 2: export the bundle again";
    }
    SUBCASE("digest") {
        manifest["files"]["prior.onnx"]["sha256"] = "12";
        expected = begin + "Expected `str` matching regex '^[0-9a-f]{64}$' - at `$.files[...].sha256`";
    }
    SUBCASE("policy") {
        manifest["sampling"]["mask_policy"] = "none";
        expected = begin + "Invalid enum value 'none' - at `$.sampling.mask_policy`";
    }
    SUBCASE("leaving the bundle") {
        manifest["files"]["../x"] = manifest["files"]["prior.onnx"];
        expected = begin + "file name '../x' leaves the bundle or is not a plain relative path";
    }
    SUBCASE("no denoiser") {
        manifest["files"].erase("denoiser.onnx");
        expected = begin + "denoiser.onnx is not listed";
    }
    SUBCASE("no prior") {
        manifest["files"].erase("prior.onnx");
        manifest["model"]["prior_parameters"] = nullptr;
        expected = begin + "data consistency, closed-form masks and a start need prior.onnx, which is not listed";
    }
    SUBCASE("rows") {
        manifest["sampling"]["tables"]["1"][0].erase("row");
        expected = begin + "steps have rows if and only if denoiser.rows.npy is listed";
    }
    SUBCASE("start") {
        manifest["sampling"]["start_alpha_bar"] = nullptr;
        expected = begin + "start and start_alpha_bar must be given together";
    }
    SUBCASE("step order") {
        manifest["sampling"]["tables"]["2"][1]["t"] = 900;
        expected = begin + "sampling table '2': t = 200 and 900 do not follow each other";
    }
    SUBCASE("key") {
        manifest["sampling"]["tables"]["02"] = manifest["sampling"]["tables"]["2"];
        expected = begin + "sampling table '02': the key is not a step count";
    }
    SUBCASE("default") {
        manifest["sampling"]["default_steps"] = 7;
        expected = begin + "default_steps is 7 but the tables are 1, 10, 12, 15, 2, 20, 25, 3, 4, 5, 6, 8";
    }
    CHECK(complaint(manifest) == expected);
}

TEST_CASE("what is no JSON is refused, however long") {
    for (const std::string& raw : {std::string(), std::string("[]"), std::string("{"), std::string("null"), std::string("{\"format_version\": 1e999}"),
                                   std::string("{\"format_version\": \"\xff\"}"), std::string(100000, '[')})
        CHECK(complaint(raw).starts_with("manifest.json is not a valid manifest: "));
}

TEST_CASE("safe names") {
    for (const char* name : {"a", "a/b.onnx", "kernels/sm_80/x.cubin", ".hidden", "..a"}) CHECK(is_safe(name));
    for (const char* name : {"", ".", "..", "/a", "a/", "a//b", "a/../b", "./a", "a\\b", "c:a", "manifest.json"})
        CHECK_FALSE(is_safe(name));
}
