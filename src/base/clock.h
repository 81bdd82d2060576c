#pragma once

#include <cstdint>

namespace fathom {

// Nanoseconds of a clock that never goes back, counted from an unknown moment: for deadlines and
// durations within a process.
std::int64_t now_ns();

// Seconds since 1970, for timestamps that people and clients read.
double unix_time_s();

}  // namespace fathom
