#include "shared_library.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>

#include "errors.h"
#include "text.h"

namespace shadowdiffusion {

namespace fs = std::filesystem;

SharedLibrary::SharedLibrary(std::string_view what, const std::vector<std::string>& candidates, std::string_view advice) {
    std::string reasons;
    for (const std::string& candidate : candidates) {
        handle_ = ::dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (handle_) {
            path_ = candidate;
            return;
        }
        const char* reason = ::dlerror();
        reasons += (reasons.empty() ? "" : "; ") + std::string(reason ? reason : candidate + " cannot be opened");
    }
    throw RestoreError(text(what, " is missing (", reasons, "): ", advice));
}

void* SharedLibrary::find(const char* symbol) const { return ::dlsym(handle_, symbol); }

void* SharedLibrary::needed(const char* symbol) const {
    if (void* found = find(symbol)) return found;
    throw RestoreError(text(path_, " has no ", symbol, ": install another version of it"));
}

std::vector<std::string> library_candidates(const char* variable, std::string_view built,
                                            const std::vector<std::string>& names) {
    if (const char* named = std::getenv(variable); named && *named) {
        std::error_code ignored;
        if (!fs::is_directory(named, ignored)) return {named};
        std::vector<std::string> found;
        for (const auto& entry : fs::directory_iterator(named, ignored))
            if (entry.path().filename().string().starts_with(names.front())) found.push_back(entry.path().string());
        std::ranges::sort(found);
        return found.empty() ? std::vector<std::string>{(fs::path(named) / names.front()).string()} : found;
    }
    std::vector<std::string> candidates = names;
    if (!built.empty()) candidates.insert(candidates.begin(), std::string(built));
    return candidates;
}

}  // namespace shadowdiffusion
