#pragma once

#include <string>

namespace fathom::bench {

// What this machine can do at most, measured: the floor that other figures are compared with.
struct Limits {
  double read_bytes_per_s = 0;  // reading memory that no cache holds
  double flops_per_s = 0;       // float32 multiply-adds from registers, two operations each
};

// The best of several tries, about half a second. Requires threads >= 1.
Limits measure_limits(int threads);

// "2 processors, AMD EPYC", as far as the system tells.
std::string describe_machine();

// Seconds since some fixed time.
double now_s();

}  // namespace fathom::bench
