#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/status.h"

namespace fathom {

// Opens an ordinary file for reading and returns its descriptor, which the caller closes. Symbolic
// links are followed. kInvalidArgument when there is no such file or it is a folder, a pipe or a
// device (an attempt to read a pipe would wait for its writer); kUnavailable when the system
// refuses. The message does not name the file; whoever has its name puts it in front.
Result<int> open_ordinary_file(const std::filesystem::path& path);

// The whole of a file that is expected to be small. kInvalidArgument when it has more than
// `max_bytes` bytes, and as above; the message does not name the file.
Result<std::string> read_small_file(const std::filesystem::path& path, std::int64_t max_bytes);

}  // namespace fathom
