#include "bundle/archive.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <zip.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <set>
#include <system_error>

#include "bundle/digest.h"
#include "cache.h"
#include "errors.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t LARGEST_MANIFEST = 16u << 20;  // bytes; real ones have about 20 kB

using Archive = std::unique_ptr<zip_t, void (*)(zip_t*)>;
using Member = std::unique_ptr<zip_file_t, int (*)(zip_file_t*)>;
using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

std::system_error last_error() { return {errno, std::generic_category()}; }

Archive open_archive(const fs::path& path) {
    int code = 0;
    Archive archive(zip_open(path.c_str(), ZIP_RDONLY | ZIP_CHECKCONS, &code), zip_discard);
    if (archive) return archive;
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    const std::string why = zip_error_strerror(&error);
    zip_error_fini(&error);
    throw BundleError(text(path.string(), " is not a bundle: it is no folder and not a whole zip file (", why, ")"));
}

zip_stat_t stat_of(zip_t* archive, zip_uint64_t index, const fs::path& path) {
    zip_stat_t about;
    constexpr zip_uint64_t needed = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
    if (zip_stat_index(archive, index, 0, &about) != 0 || (about.valid & needed) != needed)
        throw BundleError(text("cannot unpack ", path.string(), ": ", zip_strerror(archive)));
    return about;
}

BundleError compressed(const fs::path& path, const std::string& name) {
    return BundleError(text(name, " in ", path.string(), " is compressed: a packed bundle only stores (shadowdiffusion export pack)"));
}

// Calls take(block) for the bytes of a member.
template <class Take>
void read_member(zip_t* archive, zip_uint64_t index, std::uint64_t size, const std::string& name, const fs::path& path,
                 const Take& take) {
    const Member member(zip_fopen_index(archive, index, 0), zip_fclose);
    std::vector<std::byte> block(std::min<std::uint64_t>(std::max<std::uint64_t>(size, 1), std::uint64_t{1} << 20));
    std::uint64_t left = size;
    while (member && left > 0) {
        const zip_int64_t got = zip_fread(member.get(), block.data(), std::min<std::uint64_t>(left, block.size()));
        if (got <= 0) break;
        take(std::span(block).first(static_cast<std::size_t>(got)));
        left -= static_cast<std::uint64_t>(got);
    }
    if (left > 0 || !member) throw BundleError(text("cannot unpack ", path.string(), ": ", name, " cannot be read"));
}

Manifest manifest_in(zip_t* archive, const fs::path& path) {
    const zip_int64_t index = zip_name_locate(archive, std::string(MANIFEST).c_str(), 0);
    if (index < 0) throw BundleError(text(path.string(), " is not a bundle: it has no ", MANIFEST, " at its top"));
    const zip_stat_t about = stat_of(archive, static_cast<zip_uint64_t>(index), path);
    if (about.size > LARGEST_MANIFEST)
        throw BundleError(text(MANIFEST, " in ", path.string(), " has ", about.size, " bytes, which no manifest needs"));
    if (about.comp_method != ZIP_CM_STORE) throw compressed(path, std::string(MANIFEST));
    std::vector<std::byte> raw;
    read_member(archive, static_cast<zip_uint64_t>(index), about.size, std::string(MANIFEST), path,
                [&](std::span<const std::byte> block) { raw.insert(raw.end(), block.begin(), block.end()); });
    return parse_manifest(raw, text(path.string(), "/", MANIFEST));
}

bool is_plain_file(zip_t* archive, zip_uint64_t index) {
    zip_uint8_t system = 0;
    zip_uint32_t attributes = 0;
    zip_file_get_external_attributes(archive, index, 0, &system, &attributes);
    const auto kind = static_cast<mode_t>(attributes >> 16) & S_IFMT;
    return kind == 0 || kind == S_IFREG;
}

// Engines travel with a bundle, but are of no use here: `shadowdiffusion export pack` lists them in records of their own.
bool is_engine(std::string_view name) { return name.starts_with(text(ENGINES, "/")); }

// Refuse members that are not listed, repeated, no plain file, compressed, or of another size than listed; the members
// to unpack, by name.
std::map<std::string, zip_uint64_t> checked_members(zip_t* archive, const Manifest& manifest, const fs::path& path) {
    std::map<std::string, zip_uint64_t> members;
    std::uint64_t sum = 0;
    const auto count = static_cast<zip_uint64_t>(zip_get_num_entries(archive, 0));
    for (zip_uint64_t index = 0; index < count; ++index) {
        const zip_stat_t about = stat_of(archive, index, path);
        const std::string name = about.name;
        if (members.contains(name)) throw BundleError(text(path.string(), " holds '", name, "' twice"));
        if (!is_plain_file(archive, index))
            throw BundleError(text("'", name, "' in ", path.string(), " is not a plain file"));
        const auto listed = manifest.files.find(name);
        if (name != MANIFEST && listed == manifest.files.end() && !is_engine(name))
            throw BundleError(text(path.string(), " holds '", name, "', which its manifest does not list"));
        if (about.comp_method != ZIP_CM_STORE || about.comp_size != about.size) throw compressed(path, name);
        if (listed != manifest.files.end() && about.size != listed->second.size)
            throw BundleError(text(name, " in ", path.string(), " has ", about.size, " bytes instead of ", listed->second.size));
        if (__builtin_add_overflow(sum, about.size, &sum) || sum > fs::file_size(path))
            throw BundleError(text("members of ", path.string(), " share bytes: it is smaller than what it claims to hold"));
        members[name] = index;
    }
    for (const auto& [name, _] : manifest.files)
        if (!members.contains(name)) throw BundleError(text(path.string(), " lacks ", name, ": copy or pack it again"));
    return members;
}

// A folder of its own beside `target` until it is renamed.
class Temporary {
  public:
    explicit Temporary(const fs::path& target) {
        fs::create_directories(target.parent_path());
        std::string name = (target.parent_path() / ".unpack.XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) throw last_error();
        path_ = name;
    }
    ~Temporary() {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
    }
    Temporary(const Temporary&) = delete;
    Temporary& operator=(const Temporary&) = delete;
    const fs::path& path() const { return path_; }

  private:
    fs::path path_;
};

void write_member(zip_t* archive, zip_uint64_t index, const std::string& name, const fs::path& target,
                  const fs::path& path) {
    fs::create_directories(target.parent_path());
    const File file(std::fopen(target.c_str(), "wbx"), std::fclose);
    if (!file) throw last_error();
    read_member(archive, index, stat_of(archive, index, path).size, name, path, [&](std::span<const std::byte> block) {
        if (std::fwrite(block.data(), 1, block.size(), file.get()) != block.size()) throw last_error();
    });
    if (std::fflush(file.get()) != 0) throw last_error();
}

// The bundle in a folder of the cache, if it is whole; a damaged one is removed.
std::optional<Bundle> whole(const fs::path& folder) {
    if (!fs::is_directory(folder)) return {};
    try {
        return load_folder(folder);
    } catch (const BundleError&) {
        fs::remove_all(folder);
        return {};
    }
}

std::string replaced(std::string message, const std::string& old, const std::string& now) {
    for (std::size_t at = 0; (at = message.find(old, at)) != std::string::npos; at += now.size())
        message.replace(at, old.size(), now);
    return message;
}

Bundle unpacked(const fs::path& path, const fs::path& folder) {
    const Archive archive = open_archive(path);
    const auto members = checked_members(archive.get(), manifest_in(archive.get(), path), path);
    const Temporary temporary(folder);
    for (const auto& [name, index] : members)
        if (!is_engine(name)) write_member(archive.get(), index, name, temporary.path() / name, path);
    try {
        load_folder(temporary.path());
    } catch (const BundleError& error) {
        throw BundleError(text(path.string(), " is damaged: ",
                               replaced(error.what(), temporary.path().string(), path.string())));
    }
    std::error_code failed;
    fs::rename(temporary.path(), folder, failed);
    if (auto bundle = whole(folder)) return *std::move(bundle);  // another process may have been first
    throw std::system_error(failed);
}

}  // namespace

Bundle load_archive(const fs::path& path) {
    const auto cache = cache_folder("bundles");
    if (!cache) throw BundleError(text("cannot unpack ", path.string(), ": there is no cache folder (XDG_CACHE_HOME chooses a folder)"));
    try {
        // a folder of its own beside that of Python, which unpacks engines too
        const fs::path folder = *cache / (hash_file(path).sha256 + ".cpp");
        if (auto bundle = whole(folder)) return *std::move(bundle);
        return unpacked(path, folder);
    } catch (const std::system_error& error) {
        throw BundleError(text("cannot unpack ", path.string(), ": ", error.code().message(), " (the cache is ",
                               cache->string(), "; XDG_CACHE_HOME chooses a folder)"));
    }
}

}  // namespace shadowdiffusion
