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
  times = std::make_unique<SchedulerTimes>();
  functions = std::make_unique<FunctionTimes>();
  const std::int64_t now = now_ns();
  generated_.look(0, now);
  retracted_.look(0, now);
  prefilled_.look(0, now);
  cached_.look(0, now);
  verified_.look(0, now);
  accepted_.look(0, now);
}

std::string Monitor::expose(const EngineValues& engine) { return expose(engine, now_ns()); }

std::string Monitor::expose(const EngineValues& engine, std::int64_t at_ns) {
  FATHOM_CHECK(options.metrics);
  Exposition out;
  const Labels& labels = options.scheduler_labels;
  EngineGrowth growth;
  growth.generated_per_second = generated_.look(engine.generated_tokens, at_ns).per_second;
  growth.retracted_requests = retracted_.look(engine.retracted_requests, at_ns).count;
  growth.prefill_tokens = prefilled_.look(engine.prefill_tokens, at_ns).count;
  growth.cached_tokens = cached_.look(engine.cached_tokens, at_ns).count;
  growth.verify_steps = verified_.look(engine.verify_steps, at_ns).count;
  growth.accepted_drafts = accepted_.look(engine.accepted_drafts, at_ns).count;
  write_engine_metrics(out, labels, engine, growth);
  if (startup_s >= 0) {
    out.gauge("sglang:engine_startup_time", "Seconds from the start to being ready.", labels,
              startup_s);
  }
  if (load_weights_s >= 0) {
    out.gauge("sglang:engine_load_weights_time", "Seconds that reading the weights took.", labels,
              load_weights_s);
  }
  times->write(out, labels);
  requests->write(out, options.request_labels);
  functions->write(out);
  http->write(out);
  if (connections) {
    out.gauge("fathom:connections", "Open HTTP connections.", {},
              static_cast<double>(connections()));
  }
  return out.take();
}

}  // namespace fathom::observe
