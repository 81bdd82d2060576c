#include <cmath>

#include "config/metric_labels.h"
#include "config/resolution.h"

namespace fathom::config {

namespace {

std::vector<std::string> words_of(const FlagValues& flags, std::string_view name) {
  std::vector<std::string> words;
  if (const Json::Array* given = flags.get(name).as_array()) {
    for (const Json& word : *given) words.push_back(*word.as_string());
  }
  return words;
}

Status read_bounds(const FlagValues& flags, std::string_view name, std::vector<double>& bounds) {
  const Json::Array* const given = flags.get(name).as_array();
  if (given == nullptr) return {};
  for (const Json& word : *given) {
    const double bound = word.as_double().value_or(NAN);
    if (!std::isfinite(bound)) {
      return invalid_argument(flags.shown(name) + ": expected finite numbers");
    }
    bounds.push_back(bound);
  }
  return {};
}

// Seconds; nothing given is 0.
Status read_seconds(const FlagValues& flags, std::string_view name, double& seconds) {
  constexpr double kMost = 1e8;
  seconds = flags.number(name, 0);
  if (seconds >= 0 && seconds <= kMost) return {};
  return invalid_argument(flags.shown(name) + ": expected seconds from 0 to 1e8");
}

}  // namespace

Status plan_monitoring(Resolution& r) {
  const FlagValues& flags = r.flags;
  MonitoringPlan& plan = r.plan.monitoring;
  plan.metrics = flags.is_on("enable_metrics");
  plan.token_histograms = flags.is_on("collect_tokens_histogram");
  plan.prompt_buckets = words_of(flags, "prompt_tokens_buckets");
  plan.answer_buckets = words_of(flags, "generation_tokens_buckets");
  FATHOM_RETURN_IF_ERROR(
      read_bounds(flags, "bucket_time_to_first_token", plan.first_token_buckets));
  FATHOM_RETURN_IF_ERROR(
      read_bounds(flags, "bucket_inter_token_latency", plan.inter_token_buckets));
  FATHOM_RETURN_IF_ERROR(read_bounds(flags, "bucket_e2e_request_latency", plan.latency_buckets));
  FATHOM_RETURN_IF_ERROR(plan_labels(flags, plan));
  plan.log_requests = flags.is_on("log_requests");
  plan.log_requests_level = r.narrow("log_requests_level");
  plan.log_requests_json = flags.text("log_requests_format") == "json";
  plan.log_exceeded_ms =
      static_cast<std::int32_t>(r.input.environment.integer("SGLANG_LOG_REQUEST_EXCEEDED_MS", -1));
  plan.log_time_stats = flags.is_on("enable_request_time_stats_logging");
  FATHOM_RETURN_IF_ERROR(check_ranges(flags, {{"decode_log_interval", 1, 1 << 30}}));
  plan.decode_log_interval = r.narrow("decode_log_interval");
  plan.crash_dump_folder = flags.text("crash_dump_folder");
  FATHOM_RETURN_IF_ERROR(read_seconds(flags, "gc_warning_threshold_secs", plan.stall_warning_s));
  FATHOM_RETURN_IF_ERROR(read_seconds(flags, "watchdog_timeout", plan.watchdog_s));
  FATHOM_RETURN_IF_ERROR(read_seconds(flags, "soft_watchdog_timeout", plan.soft_watchdog_s));
  if (!plan.metrics && (!plan.custom_labels.empty() || !plan.extra_labels.empty())) {
    r.warn("labels of metrics do nothing without --enable-metrics");
  }
  if (plan.token_histograms && !plan.metrics) {
    r.warn("--collect-tokens-histogram does nothing without --enable-metrics");
  }
  return {};
}

}  // namespace fathom::config
