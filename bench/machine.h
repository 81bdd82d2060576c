#pragma once

#include <cstddef>
#include <string>

namespace fathom::bench {

// What this machine can do at most, measured: the floor that other figures are compared with.
struct Limits {
  double read_bytes_per_s = 0;  // reading a buffer in turn
  double flops_per_s = 0;       // float32 multiply-adds from registers, two operations each
};

// More than caches hold, as a rule; a virtual machine may see a share of its host's.
inline constexpr std::size_t kMemoryBytes = std::size_t{512} << 20;

// The best of several tries, about half a second. `buffer_bytes` is how much is read in turn, at
// least 1 MiB: a smaller working set than kMemoryBytes tells what the caches that hold it give.
// Requires threads >= 1.
Limits measure_limits(int threads, std::size_t buffer_bytes = kMemoryBytes);

// "2 processors, AMD EPYC", as far as the system tells.
std::string describe_machine();

// Seconds since some fixed time.
double now_s();

}  // namespace fathom::bench
