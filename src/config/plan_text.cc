#include "config/plan_text.h"

#include <algorithm>

#include "tensor/dtype.h"

namespace fathom::config {
namespace {

// A part of the plan being written down.
class Part {
 public:
  Part& add(std::string_view name, std::string value) {
    return put(name, Json::string(std::move(value)));
  }
  Part& add(std::string_view name, std::string_view value) {
    return put(name, Json::string(std::string(value)));
  }
  Part& add(std::string_view name, const char* value) { return put(name, Json::string(value)); }
  Part& add(std::string_view name, bool value) { return put(name, Json::boolean(value)); }
  Part& add(std::string_view name, std::int32_t value) { return put(name, Json::integer(value)); }
  Part& add(std::string_view name, std::int64_t value) { return put(name, Json::integer(value)); }
  Part& add(std::string_view name, double value) { return put(name, Json::number(value)); }
  Part& put(std::string_view name, Json value) {
    members_.push_back({std::string(name), std::move(value)});
    return *this;
  }
  Json take() { return Json::object(std::move(members_)); }

 private:
  Json::Object members_;
};

const char* role_name(Role role) {
  switch (role) {
    case Role::kPrefill:
      return "prefill";
    case Role::kDecode:
      return "decode";
    case Role::kUnified:
      break;
  }
  return "unified";
}

const char* log_level_name(LogThreshold level) {
  switch (level) {
    case LogThreshold::kDebug:
      return "debug";
    case LogThreshold::kWarning:
      return "warning";
    case LogThreshold::kError:
      return "error";
    case LogThreshold::kInfo:
      break;
  }
  return "info";
}

const char* cache_dtype_name(KvCacheDType dtype) {
  switch (dtype) {
    case KvCacheDType::kBF16:
      return "bf16";
    case KvCacheDType::kF8E4M3:
      return "fp8_e4m3";
    case KvCacheDType::kAuto:
      break;
  }
  return "auto";
}

Json instance(const InstancePlan& plan) {
  return Part()
      .add("model_path", plan.model_path)
      .add("tokenizer_path", plan.tokenizer_path)
      .add("served_model_name", plan.served_model_name)
      .add("weight_version", plan.weight_version)
      .add("role", role_name(plan.role))
      .add("device", plan.device == DeviceKind::kCuda ? "cuda" : "cpu")
      .add("arithmetic", arithmetic_name(plan.arithmetic))
      .add("deterministic", plan.deterministic)
      .add("threads", std::int32_t{plan.threads})
      // A text: not every reader of JSON keeps 64 bits.
      .add("random_seed", std::to_string(plan.random_seed))
      .add("load_balance", plan.load_balance)
      .add("overlap_schedule", plan.overlap_schedule)
      .take();
}

Json layout(const LayoutPlan& plan) {
  return Part()
      .add("nodes", plan.nodes)
      .add("node_rank", plan.node_rank)
      .add("pipeline_parallel", plan.pipeline_parallel)
      .add("tensor_parallel", plan.tensor_parallel)
      .add("data_parallel", plan.data_parallel)
      .add("dp_attention", plan.dp_attention)
      .add("attention_tensor_parallel", plan.attention_tensor_parallel)
      .add("expert_parallel", plan.expert_parallel)
      .add("dense_tensor_parallel", plan.dense_tensor_parallel)
      .add("dp_lm_head", plan.dp_lm_head)
      .add("ranks_per_node", plan.ranks_per_node)
      .add("first_rank", plan.first_rank)
      .add("first_device", plan.first_device)
      .add("device_step", plan.device_step)
      .add("physical_experts", plan.physical_experts)
      .add("experts_per_rank", plan.experts_per_rank)
      .take();
}

Json limits(const LimitsPlan& plan) {
  return Part()
      .add("context_tokens", plan.context_tokens)
      .add("chunk_tokens", plan.chunk_tokens)
      .add("max_running", plan.max_running)
      .add("max_prefill_tokens", plan.max_prefill_tokens)
      .add("prefill_max_requests", plan.prefill_max_requests)
      .add("max_queued", plan.max_queued)
      .add("request_slots", plan.request_slots)
      .add("aux_entries", plan.aux_entries)
      .add("reserved_decode_tokens", plan.reserved_decode_tokens)
      .put("reserve_ratio", Json::number_from_text(std::to_string(plan.reserve_ratio))
                                .value_or(Json::number(plan.reserve_ratio)))
      .add("reserve_clip", plan.reserve_clip)
      .add("schedule_policy", plan.schedule_policy)
      .add("priorities", plan.priorities)
      .add("low_priorities_first", plan.low_priorities_first)
      .take();
}

Json cache(const CachePlan& plan) {
  return Part()
      .add("dtype", cache_dtype_name(plan.dtype))
      .add("latent_dtype", dtype_name(plan.layout.latent_dtype))
      .add("index_dtype", dtype_name(plan.layout.index_dtype))
      .add("layers", plan.layers)
      .add("bytes_per_token", plan.bytes_per_token)
      .add("max_tokens", plan.max_tokens)
      .add("pages", plan.pages)
      .add("pool_tokens", plan.pool_tokens())
      .add("pool_bytes", plan.pool_bytes())
      .add("memory_fraction", plan.memory_fraction)
      .add("prefix_cache", plan.prefix_cache)
      .add("eviction", plan.evicts_least_used ? "lfu" : "lru")
      .take();
}

Json graphs(const GraphPlan& plan) {
  Json sizes = Json::array();
  for (const std::int32_t size : plan.batch_sizes) sizes.as_array()->push_back(Json::integer(size));
  return Part()
      .add("enabled", plan.enabled)
      .put("batch_sizes", std::move(sizes))
      .add("max_batch_size", plan.max_batch_size)
      .add("tokens_per_request", plan.tokens_per_request)
      .add("pads", plan.pads)
      .take();
}

Json serving(const InstancePlan& plan) {
  return Part()
      .add("host", plan.host)
      .add("port", plan.port)
      .add("tls", !plan.http.certificate.empty())
      .add("asks_for_api_key", !plan.http.api_key.empty())
      .add("asks_for_admin_api_key", !plan.http.admin_api_key.empty())
      .add("max_body_bytes", plan.http.max_body_bytes)
      .add("access_log", plan.http.access_log)
      .add("skip_tokenizer", plan.skip_tokenizer)
      .add("skip_warmup", plan.skip_warmup)
      .add("warmup_timeout_s", plan.warmup_timeout_s)
      .add("health_generates", plan.health_generates)
      .add("health_timeout_s", plan.health_timeout_s)
      .add("stream_interval", plan.stream_interval)
      .add("incremental_streaming", plan.incremental_streaming)
      .add("chat_template", plan.chat_template)
      .add("own_chat_encoding", plan.own_chat_encoding)
      .add("use_sampling_defaults", plan.use_sampling_defaults)
      .add("grammars", plan.grammars)
      .add("file_storage", plan.file_storage)
      .add("cache_report", plan.cache_report)
      .add("reasoning_parser", plan.reasoning_parser)
      .add("tool_call_parser", plan.tool_call_parser)
      .add("default_thinking", plan.default_thinking)
      .add("auto_truncate", plan.auto_truncate)
      .add("log_level", log_level_name(plan.log_level))
      .add("log_milliseconds", plan.log_milliseconds)
      .take();
}

Json list(const std::vector<std::string>& words) {
  Json::Array elements;
  for (const std::string& word : words) elements.push_back(Json::string(word));
  return Json::array(std::move(elements));
}

Json list(const std::vector<double>& numbers) {
  Json::Array elements;
  for (const double number : numbers) elements.push_back(Json::number(number));
  return Json::array(std::move(elements));
}

Json labels(const std::vector<std::pair<std::string, std::string>>& labels) {
  Json out = Json::object();
  for (const auto& [name, value] : labels) out.set(name, Json::string(value));
  return out;
}

Json monitoring(const MonitoringPlan& plan) {
  return Part()
      .add("metrics", plan.metrics)
      .add("token_histograms", plan.token_histograms)
      .put("prompt_buckets", list(plan.prompt_buckets))
      .put("answer_buckets", list(plan.answer_buckets))
      .put("first_token_buckets", list(plan.first_token_buckets))
      .put("inter_token_buckets", list(plan.inter_token_buckets))
      .put("latency_buckets", list(plan.latency_buckets))
      .put("custom_labels", list(plan.custom_labels))
      .add("custom_labels_header", plan.custom_labels_header)
      .put("extra_labels", labels(plan.extra_labels))
      .add("log_requests", plan.log_requests)
      .add("log_requests_level", plan.log_requests_level)
      .add("log_requests_json", plan.log_requests_json)
      .add("log_exceeded_ms", plan.log_exceeded_ms)
      .add("log_time_stats", plan.log_time_stats)
      .add("decode_log_interval", plan.decode_log_interval)
      .add("crash_dump_folder", plan.crash_dump_folder)
      .add("stall_warning_s", plan.stall_warning_s)
      .add("watchdog_s", plan.watchdog_s)
      .add("soft_watchdog_s", plan.soft_watchdog_s)
      .take();
}

std::string shown(const Json& value) {
  if (const std::string* text = value.as_string()) return text->empty() ? "-" : *text;
  if (const std::optional<bool> on = value.as_bool()) return *on ? "yes" : "no";
  if (const Json::Array* elements = value.as_array()) {
    std::string text;
    for (const Json& element : *elements) text += (text.empty() ? "" : " ") + to_json(element);
    return text.empty() ? "-" : text;
  }
  return to_json(value);
}

}  // namespace

Json plan_json(const InstancePlan& plan) {
  Part all;
  all.put("instance", instance(plan));
  all.put("layout", layout(plan.layout));
  all.put("limits", limits(plan.limits));
  all.put("cache", cache(plan.cache));
  all.put("speculation",
          Part()
              .add("algorithm", plan.speculation.algorithm)
              .add("steps", plan.speculation.steps)
              .add("top_k", plan.speculation.top_k)
              .add("draft_tokens", plan.speculation.draft_tokens)
              .add("verify_tokens", plan.speculation.verify_tokens)
              .add("accept_threshold_single", plan.speculation.accept_threshold_single)
              .add("accept_threshold_acc", plan.speculation.accept_threshold_acc)
              .add("off_switch", plan.speculation.off_switch)
              .take());
  all.put("exchange", Part()
                          .add("backend", plan.exchange.backend)
                          .add("mode", plan.exchange.mode)
                          .add("dispatch_capacity_tokens", plan.exchange.dispatch_capacity_tokens)
                          .take());
  all.put("graphs", graphs(plan.graphs));
  all.put("handover", Part()
                          .add("backend", plan.handover.backend)
                          .add("devices", plan.handover.devices)
                          .add("bootstrap_host", plan.handover.bootstrap_host)
                          .add("bootstrap_port", plan.handover.bootstrap_port)
                          .add("bootstrap_timeout_s", plan.handover.bootstrap_timeout_s)
                          .add("waiting_timeout_s", plan.handover.waiting_timeout_s)
                          .add("traffic_class", plan.handover.traffic_class)
                          .take());
  Part ports;
  for (const PortUse& use : plan.control_ports) ports.add(use.user, use.port);
  all.put("control_ports", ports.take());
  all.put("serving", serving(plan));
  all.put("monitoring", monitoring(plan.monitoring));
  return all.take();
}

std::string plan_table(const InstancePlan& plan) {
  constexpr std::size_t kNameColumns = 26;
  std::string table;
  const Json json = plan_json(plan);
  for (const JsonMember& part : *json.as_object()) {
    const bool used = (part.key != "speculation" || !plan.speculation.algorithm.empty()) &&
                      (part.key != "exchange" || plan.exchange.backend != "none") &&
                      (part.key != "graphs" || plan.graphs.enabled) &&
                      (part.key != "handover" || plan.role != Role::kUnified) &&
                      (part.key != "control_ports" || !plan.control_ports.empty());
    if (!used) continue;
    table += part.key + "\n";
    for (const JsonMember& value : *part.value.as_object()) {
      const std::size_t blanks = kNameColumns - std::min(value.key.size(), kNameColumns - 1);
      table += "  " + value.key + std::string(blanks, ' ') + shown(value.value) + "\n";
    }
  }
  return table;
}

}  // namespace fathom::config
