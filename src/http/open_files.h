#pragma once

#include <cstddef>

namespace fathom::http {

// Lets this process have `wanted` open files, or as many as the system allows it without more
// rights. Returns how many that are. Every connection is one.
std::size_t raise_open_files(std::size_t wanted);

}  // namespace fathom::http
