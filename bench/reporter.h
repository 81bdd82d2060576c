#pragma once

#include <map>
#include <vector>

#include <benchmark/benchmark.h>

#include "bench/machine.h"
#include "bench/table.h"

namespace fathom::bench {

// What one iteration of a benchmark does; the reporter makes rates of it.
struct Work {
  double bytes = 0;  // read from memory at least once
  double flops = 0;
  int threads = 1;
};
void set_work(benchmark::State& state, const Work& work);

// One line a benchmark: median and best time of its repetitions, the least processor time of all
// threads (what other work on the machine disturbs least), and the best time's rates beside the
// machine's limits for as many threads.
class TableReporter final : public benchmark::BenchmarkReporter {
 public:
  explicit TableReporter(std::map<int, Limits> limits);
  bool ReportContext(const Context& context) override;
  void ReportRuns(const std::vector<Run>& runs) override;

 private:
  std::map<int, Limits> limits_;  // by threads
  Table table_;
};

}  // namespace fathom::bench
