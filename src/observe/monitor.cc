#include "observe/monitor.h"

#include <utility>

#include "base/check.h"
#include "base/clock.h"

namespace fathom::observe {

Monitor::Monitor(MonitorOptions options_in)
    : options(std::move(options_in)),
      log(options.request_log, options.log_exceeded_ms),
      crash_dump(options.crash_dump_folder),
      stalls(options.stalls, options.give_up) {
  if (!options.metrics) return;
  requests = std::make_unique<RequestMetrics>(options.request_metrics);
  http = std::make_unique<HttpMetrics>();
  generated_.look(0, now_ns());
}

std::string Monitor::expose(const EngineValues& engine) {
  FATHOM_CHECK(options.metrics);
  Exposition out;
  const Labels& labels = options.scheduler_labels;
  write_engine_metrics(out, labels, engine, generated_.look(engine.generated_tokens, now_ns()));
  if (startup_s >= 0) {
    out.gauge("sglang:engine_startup_time", "Seconds from the start to being ready.", labels,
              startup_s);
  }
  if (load_weights_s >= 0) {
    out.gauge("sglang:engine_load_weights_time", "Seconds that reading the weights took.", labels,
              load_weights_s);
  }
  requests->write(out, options.request_labels, labels);
  http->write(out);
  if (connections) {
    out.gauge("fathom:connections", "Open HTTP connections.", {},
              static_cast<double>(connections()));
  }
  return out.take();
}

}  // namespace fathom::observe
