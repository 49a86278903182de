// Names of files taken apart and put together as bytes, in the way of Python's os.path, whose results they must match.
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace shadowdiffusion {

// Folder and name: "a/b.png" -> {"a", "b.png"}; a folder keeps no slash at its end, but for the root.
std::pair<std::string_view, std::string_view> split_name(std::string_view path);

// What precedes the extension, with its folders: "a/b.png" -> "a/b".
std::string_view stem_in(std::string_view path);

// The extension with its dot, "" where there is none; dots that begin a name begin no extension.
std::string_view suffix_in(std::string_view path);

// Both, one below the other; an absolute `below` stands for itself.
std::string joined(std::string_view folder, std::string_view below);

// ASCII letters in lower case.
std::string lower_case(std::string_view text);

}  // namespace shadowdiffusion
