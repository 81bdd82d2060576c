#include "bench/reporter.h"

#include <algorithm>
#include <utility>

namespace fathom::bench {

void set_work(benchmark::State& state, const Work& work) {
  state.counters["bytes"] = work.bytes;
  state.counters["flops"] = work.flops;
  state.counters["threads"] = work.threads;
}

TableReporter::TableReporter(std::map<int, Limits> limits)
    : limits_(std::move(limits)),
      table_({{"kernel", 44},
              {"threads", 7},
              {"median", 8},
              {"best", 8},
              {"CPU", 8},
              {"GB/s", 6},
              {"of read", 7},
              {"GFLOP/s", 7},
              {"of FMA", 6}}) {}

bool TableReporter::ReportContext(const Context& /*context*/) { return true; }

void TableReporter::ReportRuns(const std::vector<Run>& runs) {
  std::vector<double> times;
  std::vector<double> processor_times;
  for (const Run& run : runs) {
    if (run.run_type != Run::RT_Iteration || run.error_occurred) continue;
    const auto iterations = static_cast<double>(run.iterations);
    times.push_back(run.real_accumulated_time / iterations);
    processor_times.push_back(run.cpu_accumulated_time / iterations);
  }
  if (times.empty()) return;
  std::sort(times.begin(), times.end());
  const auto counter = [&](const char* name) { return runs.front().counters.at(name).value; };
  const double best = times.front();
  const auto threads = static_cast<int>(counter("threads"));
  const Limits& limits = limits_.at(threads);
  const double bytes = counter("bytes") / best;
  const double flops = counter("flops") / best;
  table_.row({runs.front().run_name.function_name, std::to_string(threads),
              duration(times[times.size() / 2]), duration(best),
              duration(*std::min_element(processor_times.begin(), processor_times.end())),
              bytes > 0 ? number(bytes / 1e9, 1) : "",
              bytes > 0 ? percent(bytes / limits.read_bytes_per_s) : "",
              flops > 0 ? number(flops / 1e9, 1) : "",
              flops > 0 ? percent(flops / limits.flops_per_s) : ""});
}

}  // namespace fathom::bench
