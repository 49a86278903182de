#include "batch/notes.h"

#include <fcntl.h>
#include <glib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <string_view>
#include <system_error>
#include <utility>

#include "descriptor.h"
#include "photo/path_names.h"
#include "text.h"

namespace shadowdiffusion {
namespace {

// Bytes of a name that are not UTF-8 are written as Python does it, as lone surrogates: \udc80 to \udcff. JSON here
// holds no such thing, so that inside the program they are a slash, which no name has, and two digits.
constexpr char MARK = '/';
constexpr std::string_view SURROGATE = "\\udc";

std::string marked(std::string_view name) {
    std::string marks;
    while (!name.empty()) {
        const gunichar character = g_utf8_get_char_validated(name.data(), static_cast<gssize>(name.size()));
        const bool is_utf8 = character < 0x80000000;
        const std::size_t size = is_utf8 ? static_cast<std::size_t>(g_unichar_to_utf8(character, nullptr)) : 1;
        if (is_utf8) {
            marks += name.substr(0, size);
        } else {
            const auto byte = static_cast<unsigned char>(name.front());
            marks += {MARK, "0123456789abcdef"[byte >> 4], "0123456789abcdef"[byte & 15]};
        }
        name.remove_prefix(size);
    }
    return marks;
}

// The number of an escape \uXXXX that `line` begins with; 0 for anything else.
unsigned escape_at(std::string_view line) {
    unsigned number = 0;
    if (line.size() < 6 || !line.starts_with("\\u")) return 0;
    const auto [end, failed] = std::from_chars(line.data() + 2, line.data() + 6, number, 16);
    return failed == std::errc() && end == line.data() + 6 ? number : 0;
}

// A line with its lone surrogates marked.
std::string without_surrogates(std::string_view line) {
    std::string marks;
    while (!line.empty()) {
        const unsigned number = escape_at(line);
        std::size_t size = line.front() == '\\' ? std::min<std::size_t>(2, line.size()) : 1;
        if (number >= 0xdc80 && number <= 0xdcff) {
            (marks += MARK) += line.substr(4, 2);
            line.remove_prefix(6);
            continue;
        }
        if (number >= 0xd800 && number <= 0xdbff) size = std::min<std::size_t>(12, line.size());  // a pair
        marks += line.substr(0, size);
        line.remove_prefix(size);
    }
    return marks;
}

std::string with_surrogates(std::string_view marks) {
    std::string line;
    for (const char character : marks) {
        if (character == MARK)
            line += SURROGATE;
        else
            line += character;
    }
    return line;
}

// A line as JSON; one that is torn is no object.
Record decoded(const std::string& line) { return Record::parse(without_surrogates(line), nullptr, false); }

// The text of a field; none where there is none.
std::optional<std::string> text_in(const Record& fields, const char* name) {
    const auto found = fields.find(name);
    if (found == fields.end() || !found->is_string()) return std::nullopt;
    return found->get<std::string>();
}

// A value as Python prints it.
std::string shown(const Record& value) {
    if (value.is_null()) return "None";
    return value.is_string() ? value.get<std::string>() : value.dump(-1, ' ', false, Record::error_handler_t::replace);
}

[[noreturn]] void fail(int number) { throw std::system_error(number, std::generic_category()); }

}  // namespace

std::string Origin::difference(const Origin& other) const {
    if (input != other.input) return "from another photo";
    if (mask != other.mask) return "from another mask";
    if (bundle != other.bundle) return "from another bundle";
    std::string names;
    for (const auto& [name, value] : settings.items()) {
        const Record theirs = other.settings.value(name, Record(nullptr));
        if (value != theirs) names += text(names.empty() ? "with " : ", ", name, " ", shown(theirs));
    }
    return names;
}

Notes::Notes(const std::string& folder) : path_(joined(folder, NOTES)) {}

std::optional<Note> Notes::of(const std::string& name) {
    std::string line;
    {
        const std::scoped_lock lock(mutex_);
        catch_up();
        const auto found = lines_.find(marked(name));
        if (found == lines_.end()) return std::nullopt;
        line = found->second;
    }
    const Record fields = decoded(line);
    const auto sum = text_in(fields, "sha256"), input = text_in(fields, "input"), bundle = text_in(fields, "bundle");
    const auto mask = fields.find("mask"), settings = fields.find("settings");
    if (!sum || !input || !bundle || mask == fields.end() || settings == fields.end()) return std::nullopt;
    if (!settings->is_object() || !(mask->is_null() || mask->is_string())) return std::nullopt;
    return Note{*sum, {*input, text_in(fields, "mask"), *bundle, *settings}};
}

void Notes::add(const std::string& name, const Note& note) {
    Record rest;
    rest["sha256"] = note.sha256;
    rest["input"] = note.origin.input;
    rest["mask"] = note.origin.mask ? Record(*note.origin.mask) : Record(nullptr);
    rest["bundle"] = note.origin.bundle;
    rest["settings"] = note.origin.settings;
    const std::string file = with_surrogates(Record(marked(name)).dump(-1, ' ', true));
    const Descriptor notes(::open(path_.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0666));
    struct stat status{};
    if (notes.get() < 0 || ::fstat(notes.get(), &status) != 0) fail(errno);
    char last = '\n';
    if (status.st_size > 0 && ::pread(notes.get(), &last, 1, status.st_size - 1) < 0) fail(errno);
    const char* const before = last == '\n' ? "" : "\n";  // whoever wrote last was killed
    const std::string line = text(before, "{\"file\":", file, ",", rest.dump(-1, ' ', true).substr(1), "\n");
    const ssize_t written = ::write(notes.get(), line.data(), line.size());  // one call: lines do not mix
    if (written < 0) fail(errno);
    if (static_cast<std::size_t>(written) != line.size()) fail(ENOSPC);
}

void Notes::forget() {
    lines_.clear();
    read_ = 0;
}

// Read the whole lines that were appended since last time.
void Notes::catch_up() {
    const Descriptor notes(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat status{};
    if (notes.get() < 0 || ::fstat(notes.get(), &status) != 0 || !S_ISREG(status.st_mode)) return forget();
    const auto size = static_cast<std::size_t>(status.st_size);
    if (size < read_) forget();  // not the file it was
    std::string added(size - read_, '\0');
    std::size_t got = 0;
    while (got < added.size()) {
        const ssize_t part = ::pread(notes.get(), added.data() + got, added.size() - got,
                                     static_cast<off_t>(read_ + got));
        if (part < 0) return forget();
        if (part == 0) break;
        got += static_cast<std::size_t>(part);
    }
    std::string_view whole = std::string_view(added).substr(0, got);
    whole = whole.substr(0, whole.rfind('\n') + 1);  // nothing where there is no end of a line
    read_ += whole.size();
    while (!whole.empty()) {
        std::string line(whole.substr(0, whole.find('\n')));
        whole.remove_prefix(line.size() + 1);
        const Record fields = decoded(line);
        if (auto name = text_in(fields, "file")) lines_[*std::move(name)] = std::move(line);
    }
}

}  // namespace shadowdiffusion
