#pragma once

#include <cstdint>
#include <filesystem>

namespace fathom::bench {

// Memory of this process that is in RAM now.
struct ResidentMemory {
  double file_bytes = 0;       // pages of mapped files
  double anonymous_bytes = 0;  // everything else
};
ResidentMemory resident_memory();

// Asks the system to forget its copies of the files in `folder`, which must not be mapped, and
// tells which part of them it still holds: 0 is a cold start.
double drop_from_page_cache(const std::filesystem::path& folder);

}  // namespace fathom::bench
