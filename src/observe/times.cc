#include "observe/times.h"

#include <utility>
#include <vector>

#include "observe/buckets.h"

namespace fathom::observe {

SchedulerTimes::SchedulerTimes()
    : queue_(queue_time_bounds()),
      process_(stage_bounds()),
      waiting_(stage_bounds()),
      prefill_(stage_bounds()),
      grammars_(compilation_bounds()) {}

void SchedulerTimes::on_request(const StageTimes& times) {
  if (times.process_s >= 0) process_.observe(times.process_s);
  if (times.waiting_s >= 0) {
    waiting_.observe(times.waiting_s);
    queue_.observe(times.waiting_s);
  }
  if (times.prefill_s >= 0) prefill_.observe(times.prefill_s);
}

void SchedulerTimes::write(Exposition& out, const Labels& labels) const {
  out.begin("sglang:queue_time_seconds", MetricType::kHistogram,
            "Seconds that a request waited before it ran first.");
  queue_.write(out, labels);
  out.begin("sglang:per_stage_req_latency_seconds", MetricType::kHistogram,
            "Seconds that a request spent in a stage.");
  const auto stage = [&](const char* name, const Histogram& histogram) {
    Labels more = labels;
    more.emplace_back("stage", name);
    histogram.write(out, more);
  };
  stage("request_process", process_);
  stage("prefill_waiting", waiting_);
  stage("prefill_forward", prefill_);
  out.begin("sglang:grammar_compilation_time_seconds", MetricType::kHistogram,
            "Seconds that compiling a grammar took.");
  grammars_.write(out, labels);
}

void FunctionTimes::observe(std::string_view name, double seconds) {
  Histogram* histogram = nullptr;
  {
    const std::lock_guard lock(mutex_);
    histogram = &functions_.try_emplace(name, function_bounds()).first->second;
  }
  histogram->observe(seconds);
}

void FunctionTimes::write(Exposition& out) const {
  std::vector<std::pair<std::string_view, const Histogram*>> functions;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [name, histogram] : functions_) functions.emplace_back(name, &histogram);
  }
  out.begin("sglang:func_latency_seconds", MetricType::kHistogram,
            "Seconds that functions of the server took.");
  for (const auto& [name, histogram] : functions) {
    histogram->write(out, {{"name", std::string(name)}});
  }
}

}  // namespace fathom::observe
