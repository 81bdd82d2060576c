#pragma once

#include <filesystem>
#include <string_view>

#include "base/status.h"

// Files that outlive a crash of the machine once a function here has returned well.
namespace fathom::api {

// kUnavailable: "'PATH' cannot be WHAT: …", with what errno says.
Status file_failure(const std::filesystem::path& path, std::string_view what);

// The names in a folder are on the disk: of files that were made, renamed or deleted in it.
Status sync_folder(const std::filesystem::path& folder);

// What the name of a file ends with before it gets its own: the file may be half written.
inline constexpr std::string_view kUnfinishedEnd = ".part";

// Makes or replaces a file, whole or not at all. It is its user's alone (0600).
Status write_whole_file(const std::filesystem::path& path, std::string_view text);

// Writes all of it at the descriptor's place; errno says why not.
bool write_all(int descriptor, std::string_view text);

}  // namespace fathom::api
