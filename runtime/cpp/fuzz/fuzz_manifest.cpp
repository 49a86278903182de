// Any bytes as manifest.json: a Manifest, or a BundleError, and nothing else.

#include <cstddef>
#include <cstdint>
#include <span>

#include "bundle/manifest.h"
#include "errors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    try {
        shadowdiffusion::parse_manifest(std::as_bytes(std::span(data, size)));
    } catch (const shadowdiffusion::BundleError&) {
    }
    return 0;
}
