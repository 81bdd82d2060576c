#include "app/monitoring.h"

#include <string_view>
#include <utility>
#include <vector>

#include "config/kv_layout.h"
#include "observe/buckets.h"

namespace fathom::app {

namespace {

Result<std::vector<double>> bounds_or(const std::vector<double>& given,
                                      std::vector<double> initial) {
  return given.empty() ? Result<std::vector<double>>(std::move(initial))
                       : observe::given_bounds(given);
}

// Where a rank stands in each direction.
struct RankPlace {
  std::int32_t dp = 0;
  std::int32_t tp = 0;
  std::int32_t pp = 0;
  std::int32_t ep = 0;
};

RankPlace place_of(const config::LayoutPlan& layout) {
  RankPlace place;
  place.tp = layout.first_rank % layout.tensor_parallel;
  place.pp = layout.first_rank / layout.tensor_parallel;
  place.dp = place.tp / (layout.tensor_parallel / layout.data_parallel > 0
                             ? layout.tensor_parallel / layout.data_parallel
                             : 1);
  place.ep = place.tp / (layout.tensor_parallel / layout.expert_parallel > 0
                             ? layout.tensor_parallel / layout.expert_parallel
                             : 1);
  return place;
}

observe::Labels request_labels(const config::InstancePlan& plan) {
  observe::Labels labels = {{"model_name", plan.served_model_name},
                            {"engine_type", plan.role == config::Role::kPrefill  ? "prefill"
                                            : plan.role == config::Role::kDecode ? "decode"
                                                                                 : "unified"}};
  labels.insert(labels.end(), plan.monitoring.extra_labels.begin(),
                plan.monitoring.extra_labels.end());
  return labels;
}

observe::Labels scheduler_labels(const config::InstancePlan& plan) {
  const RankPlace place = place_of(plan.layout);
  observe::Labels labels = request_labels(plan);
  labels.emplace_back("tp_rank", std::to_string(place.tp));
  labels.emplace_back("pp_rank", std::to_string(place.pp));
  labels.emplace_back("moe_ep_rank", std::to_string(place.ep));
  if (plan.layout.data_parallel > 1) labels.emplace_back("dp_rank", std::to_string(place.dp));
  return labels;
}

}  // namespace

Result<observe::MonitorOptions> monitor_options(const config::InstancePlan& plan) {
  const config::MonitoringPlan& wanted = plan.monitoring;
  observe::MonitorOptions options;
  options.metrics = wanted.metrics;
  observe::RequestMetricsOptions& metrics = options.request_metrics;
  auto first_token = bounds_or(wanted.first_token_buckets, observe::first_token_bounds());
  FATHOM_RETURN_IF_ERROR(first_token.status().in("--bucket-time-to-first-token"));
  metrics.first_token_bounds = std::move(first_token).value();
  auto inter_token = bounds_or(wanted.inter_token_buckets, observe::inter_token_bounds());
  FATHOM_RETURN_IF_ERROR(inter_token.status().in("--bucket-inter-token-latency"));
  metrics.inter_token_bounds = std::move(inter_token).value();
  auto latency = bounds_or(wanted.latency_buckets, observe::request_latency_bounds());
  FATHOM_RETURN_IF_ERROR(latency.status().in("--bucket-e2e-request-latency"));
  metrics.latency_bounds = std::move(latency).value();
  auto prompts = observe::token_bounds(wanted.prompt_buckets);
  FATHOM_RETURN_IF_ERROR(prompts.status().in("--prompt-tokens-buckets"));
  auto answers = observe::token_bounds(wanted.answer_buckets);
  FATHOM_RETURN_IF_ERROR(answers.status().in("--generation-tokens-buckets"));
  if (wanted.token_histograms) {
    metrics.prompt_token_bounds = std::move(prompts).value();
    metrics.answer_token_bounds = std::move(answers).value();
  }
  metrics.custom_labels = wanted.custom_labels;
  options.custom_labels_header = wanted.custom_labels_header;
  options.request_labels = request_labels(plan);
  options.scheduler_labels = scheduler_labels(plan);
  options.request_log = {wanted.log_requests, wanted.log_requests_level, wanted.log_requests_json};
  options.log_exceeded_ms = wanted.log_exceeded_ms;
  options.time_stats = wanted.log_time_stats;
  options.crash_dump_folder = wanted.crash_dump_folder;
  options.stalls = {wanted.stall_warning_s, wanted.watchdog_s, wanted.soft_watchdog_s};
  return options;
}

observe::StepNote note_of(const engine::StepReport& report, std::int32_t draft_tokens) {
  observe::StepNote note;
  note.at_ns = report.at_ns;
  note.prefill_requests = report.prefill_requests;
  note.prefill_tokens = report.prefill_tokens;
  note.cached_tokens = report.cached_tokens;
  note.prefill_used_tokens = report.pages_used_before * config::kPageTokens;
  note.running = report.running - report.prefill_requests;
  note.waiting = report.waiting;
  note.tells_decode = report.tells_decode;
  note.decode_running = report.running;
  note.used_tokens = report.pages_used * config::kPageTokens;
  note.pool_tokens = report.pages * config::kPageTokens;
  note.graph = report.graph;
  note.generated_tokens = report.generated_tokens;
  note.draft_tokens = draft_tokens;
  note.verify_steps = report.drafts.steps;
  note.accepted_drafts = report.drafts.accepted;
  note.retracted = report.retracted;
  note.retracted_tokens = report.pages_gained * config::kPageTokens;
  note.ratio_before = static_cast<double>(report.ratio_before);
  note.ratio_after = static_cast<double>(report.ratio_after);
  return note;
}

std::string rank_tags(const config::LayoutPlan& layout) {
  const RankPlace place = place_of(layout);
  std::string tags;
  const auto add = [&tags](std::string_view name, std::int32_t ranks, std::int32_t rank) {
    if (ranks > 1) tags.append(" ").append(name).append(std::to_string(rank));
  };
  add("DP", layout.data_parallel, place.dp);
  add("TP", layout.tensor_parallel, place.tp);
  add("PP", layout.pipeline_parallel, place.pp);
  add("EP", layout.expert_parallel, place.ep);
  return tags;
}

}  // namespace fathom::app
