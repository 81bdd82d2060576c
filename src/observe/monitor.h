#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "observe/crash_dump.h"
#include "observe/engine_metrics.h"
#include "observe/exposition.h"
#include "observe/http_metrics.h"
#include "observe/request_log.h"
#include "observe/request_metrics.h"
#include "observe/stalls.h"
#include "observe/times.h"

namespace fathom::observe {

struct MonitorOptions {
  bool metrics = false;  // --enable-metrics
  RequestMetricsOptions request_metrics;
  std::string custom_labels_header;  // where requests bring request_metrics.custom_labels
  Labels request_labels;             // of metrics about requests
  Labels scheduler_labels;           // of metrics about an engine
  RequestLogSettings request_log;
  std::int64_t log_exceeded_ms = -1;
  bool time_stats = false;  // --enable-request-time-stats-logging
  std::string crash_dump_folder;
  StallOptions stalls;
  std::function<void(const std::string&)> give_up;  // of Stalls
};

// All that watches an instance and is switched on by flags. Outlives whatever uses it.
//
// Threads: any, as its members; the plain ones are set before threads run.
class Monitor {
 public:
  explicit Monitor(MonitorOptions options);

  // The text of /metrics at `at_ns`, of base now_ns(). Requires `metrics`.
  std::string expose(const EngineValues& engine, std::int64_t at_ns);
  std::string expose(const EngineValues& engine);  // now

  // Whether someone wants to know requests in full: their fields, their tokens.
  bool wants_requests() const { return log.enabled() || crash_dump.enabled(); }

  const MonitorOptions options;
  std::unique_ptr<RequestMetrics> requests;  // null without --enable-metrics
  std::unique_ptr<HttpMetrics> http;         // null without --enable-metrics
  std::unique_ptr<SchedulerTimes> times;     // null without --enable-metrics
  std::unique_ptr<FunctionTimes> functions;  // null without --enable-metrics
  RequestLog log;
  CrashDump crash_dump;
  Stalls stalls;
  // For gauges: open connections; null: not known.
  std::function<std::size_t()> connections;
  // Seconds that the start and its reading of weights took; negative: not known yet.
  std::atomic<double> startup_s = -1;
  std::atomic<double> load_weights_s = -1;

 private:
  Rate generated_;
  Rate retracted_;
  Rate prefilled_;
  Rate cached_;
  Rate verified_;
  Rate accepted_;
};

}  // namespace fathom::observe
