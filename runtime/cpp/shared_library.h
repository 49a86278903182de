// Libraries that are opened when the program runs, so that it starts where they are absent.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace shadowdiffusion {

// A library of this process, open until the process ends: what such libraries start cannot be stopped safely.
class SharedLibrary {
  public:
    // The first of `candidates`, paths or names that the loader looks for, that can be opened. Throws RestoreError with
    // `what` is missing, why each was refused, and `advice`.
    SharedLibrary(std::string_view what, const std::vector<std::string>& candidates, std::string_view advice);

    // Whatever is named so, or null.
    void* find(const char* symbol) const;

    // A function. Throws RestoreError if the library lacks it.
    template <class Function>
    Function function(const char* symbol) const {
        return reinterpret_cast<Function>(needed(symbol));
    }

    const std::string& path() const { return path_; }

  private:
    void* needed(const char* symbol) const;

    void* handle_ = nullptr;
    std::string path_;
};

// Candidates for a library: only what the environment variable names, a file or a folder with a file of the first of
// `names`, where it is set; else `built`, where it is not empty, and then the names, for the loader.
std::vector<std::string> library_candidates(const char* variable, std::string_view built,
                                            const std::vector<std::string>& names);

}  // namespace shadowdiffusion
