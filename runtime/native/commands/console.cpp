#include "commands/console.h"

#include <glib.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace shadowdiffusion {
namespace {

std::string escaped(gunichar character) {
    if (character == '\n') return "\\n";
    if (character == '\t') return "\\t";
    if (character == '\r') return "\\r";
    char text[16];
    const char* format = character < 0x100 ? "\\x%02x" : character < 0x10000 ? "\\u%04x" : "\\U%08x";
    std::snprintf(text, sizeof text, format, character);
    return text;
}

bool is_visible(gunichar character) {
    return g_unichar_isprint(character) && g_unichar_type(character) != G_UNICODE_FORMAT;
}

}  // namespace

std::string printable(std::string_view text) {
    while (!text.empty() && g_ascii_isspace(text.back())) text.remove_suffix(1);
    while (!text.empty() && g_ascii_isspace(text.front())) text.remove_prefix(1);
    std::string line;
    while (!text.empty()) {
        const gunichar character = g_utf8_get_char_validated(text.data(), static_cast<gssize>(text.size()));
        const bool is_utf8 = character < 0x80000000;
        const std::size_t size =
            is_utf8 ? static_cast<std::size_t>(g_unichar_to_utf8(character, nullptr)) : std::size_t{1};
        if (is_utf8 && is_visible(character))
            line += text.substr(0, size);
        else
            line += escaped(is_utf8 ? character : static_cast<unsigned char>(text.front()));
        text.remove_prefix(size);
    }
    return line;
}

void complain(std::string_view message, std::string_view kind) {
    write_all(STDERR_FILENO, std::string(kind) + ": " + printable(message) + "\n");
}

int write_all(int file, std::string_view text) {
    while (!text.empty()) {
        const ssize_t written = ::write(file, text.data(), text.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return errno;
        text.remove_prefix(static_cast<std::size_t>(written));
    }
    return 0;
}

}  // namespace shadowdiffusion
