// The limits of this machine: read bandwidth and multiply-add peak.

#include <iostream>

#include "base/thread_pool.h"
#include "bench/machine.h"
#include "bench/table.h"

int main() {
  using fathom::bench::number;
  std::cout << fathom::bench::describe_machine() << "; best of forty tries\n\n";
  const fathom::bench::Table table({{"threads", 7}, {"read GB/s", 10}, {"FMA GFLOP/s", 11}});
  for (int threads = 1; threads <= fathom::available_processors(); threads *= 2) {
    const fathom::bench::Limits limits = fathom::bench::measure_limits(threads);
    table.row({std::to_string(threads), number(limits.read_bytes_per_s / 1e9, 1),
               number(limits.flops_per_s / 1e9, 1)});
  }
  return 0;
}
