#include <doctest/doctest.h>

#include <set>
#include <string>

#include "batch/settings.h"
#include "files.h"

using namespace shadowdiffusion;

namespace {

Record manifest_of(const char* bundle) {
    const auto raw = read_file(std::string(BUNDLES "/") + bundle + "/manifest.json");
    const auto* first = reinterpret_cast<const char*>(raw.data());
    return Record::parse(first, first + raw.size());
}

std::string identity_of(const Record& manifest) {
    const std::string raw = manifest.dump();
    return identity(parse_manifest(std::as_bytes(std::span(raw))));
}

}  // namespace

// tests/runtime/native/test_tool.py compares with the Python runtime.
TEST_CASE("the identity of a bundle is that of its networks and of how they are run") {
    const Record whole = manifest_of("shadow");
    std::set<std::string> known{identity_of(whole), identity_of(manifest_of("low-light")), identity_of(manifest_of("exposure"))};
    CHECK(known.size() == 3);
    Record changed = whole;
    changed["name"] = "another", changed["created"] = "later", changed["verification"] = Record::object();
    changed["files"]["golden/input.npz"]["sha256"] = std::string(64, '0');
    CHECK(known.contains(identity_of(changed)));
    std::size_t changes = 0;
    const auto differs = [&](const char* place, const Record& value) {
        Record other = whole;
        other[Record::json_pointer(place)] = value;
        CAPTURE(place);
        CHECK(known.insert(identity_of(other)).second);
        ++changes;
    };
    differs("/files/denoiser.onnx/sha256", std::string(64, '0'));
    differs("/files/prior.onnx/sha256", std::string(64, '0'));
    differs("/files/denoiser.rows.npy/sha256", std::string(64, '0'));
    differs("/model/denoiser_size", "\"\n");
    differs("/model/working_size", 385);
    differs("/model/matte_threshold", 0.7500000000000001);
    differs("/model/illumination/ceiling", 5);
    differs("/sampling/default_steps", 2);
    differs("/sampling/mask_policy", "late");
    differs("/sampling/clamp", true);
    differs("/sampling/eta", 1e-6);
    differs("/sampling/rho_schedule", "linear");
    differs("/sampling/rho_gamma", 1e16);
    differs("/sampling/tables/1/0/rho", 1e-5);
    differs("/sampling/tables/1/0/row", 57);
    CHECK(known.size() == 3 + changes);
}

TEST_CASE("what a result depends on") {
    Settings settings{"bundle", 5, ~std::uint64_t{0}, 0.5, 384, 90};
    CHECK(settings.record(Format::png).dump() ==
          R"({"steps":5,"seed":18446744073709551615,"strength":0.5,"working_size":384})");
    settings.working_size.reset();
    CHECK(settings.record(Format::jpeg)["working_size"] == "native");
    CHECK(settings.record(Format::jpeg)["quality"] == 90);
    settings.quality.reset();
    CHECK(settings.record(Format::webp)["quality"].is_null());
    CHECK(!settings.quality_in(Format::tiff));
}
