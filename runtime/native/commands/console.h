// What the command line prints for people: one line at a time, whatever the names in it are made of. Twin of
// runtime/commands/console.py.
#pragma once

#include <string>
#include <string_view>

namespace shadowdiffusion {

// `text` with all escaped that would break the line or the terminal: control characters, and bytes that are not UTF-8.
std::string printable(std::string_view text);

// Print a line on stderr that says of what kind it is; where nobody can read it, that is no further error.
void complain(std::string_view message, std::string_view kind = "error");

// All of `text` to a file descriptor. Returns 0, or the errno of what went wrong.
int write_all(int file, std::string_view text);

}  // namespace shadowdiffusion
