#include "batch/standing.h"

#include <sys/stat.h>

#include <system_error>

#include "bundle/digest.h"
#include "errors.h"
#include "photo/path_names.h"
#include "text.h"

namespace shadowdiffusion {

Place look(const std::string& path, const Origin& origin, Notes& notes, const std::string& source) {
    struct stat there{};
    if (::stat(path.c_str(), &there) == 0 && S_ISDIR(there.st_mode))
        throw PhotoError(text("cannot write ", path, ": it is a folder"));
    if (::lstat(path.c_str(), &there) != 0) return {Standing::absent, ""};
    const bool own = same_file(path, source);
    const auto note = notes.of(std::string(split_name(path).second));
    if (!note) return {Standing::other, own ? "it is the photo itself" : "it exists already"};
    if (note->sha256 != hash_of(path))
        return {Standing::other, own ? "it is the photo itself" : "it was changed since it was made"};
    Origin expected = origin;
    if (own) expected.input = note->origin.input;
    if (const std::string difference = expected.difference(note->origin); !difference.empty())
        return {Standing::other, "it exists already, made " + difference};
    return {Standing::done, ""};
}

std::string hash_of(const std::string& path) {
    try {
        return hash_file(path).sha256;
    } catch (const std::system_error& error) {
        throw PhotoError(text("cannot read ", path, ": ", error.code().message()));
    }
}

bool same_file(const std::string& path, const std::string& other) {
    struct stat one{}, two{};
    return ::stat(path.c_str(), &one) == 0 && ::stat(other.c_str(), &two) == 0 && one.st_dev == two.st_dev &&
           one.st_ino == two.st_ino;
}

}  // namespace shadowdiffusion
