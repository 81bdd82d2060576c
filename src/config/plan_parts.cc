#include <algorithm>
#include <map>

#include "config/resolution.h"

// Graphs, expert exchange, handover, ports and serving.
namespace fathom::config {
namespace {

constexpr std::string_view kCapacity = "SGLANG_DEEPEP_NUM_MAX_DISPATCH_TOKENS_PER_RANK";

std::int32_t tokens_per_request(const Resolution& r) {
  return r.plan.speculation.algorithm.empty() ? 1 : r.plan.speculation.draft_tokens;
}

// "--speculative-num-draft-tokens 2", or nothing to name.
std::string times_drafts(const Resolution& r, std::int64_t tokens) {
  std::string text;
  if (tokens_per_request(r) > 1) {
    text = ", times " + std::to_string(tokens_per_request(r)) +
           " draft tokens (--speculative-num-draft-tokens)";
  }
  return text + " is " + std::to_string(tokens) + " tokens";
}

Status check_dispatch_capacity(const Resolution& r) {
  const FlagValues& flags = r.flags;
  const std::int64_t capacity = r.plan.exchange.dispatch_capacity_tokens;
  const std::int64_t drafts = tokens_per_request(r);
  const std::string limit =
      ", more than " + std::string(kCapacity) + " (" + std::to_string(capacity) + ")";
  if (r.plan.exchange.mode == "low_latency" && r.plan.role != Role::kDecode &&
      r.plan.limits.chunk_tokens > capacity) {
    return invalid_argument("--deepep-mode low_latency and a chunk of " +
                            std::to_string(r.plan.limits.chunk_tokens) +
                            " tokens a rank (--chunked-prefill-size)" + limit +
                            ": use --deepep-mode normal or auto where prompts run");
  }
  if (r.plan.role == Role::kPrefill) return {};
  const std::int64_t running = r.plan.limits.max_running;
  if (running * drafts > capacity) {
    return invalid_argument(
        flags.shown("max_running_requests") + " over " + flags.shown("dp_size") + " is " +
        std::to_string(running) + " requests a rank" + times_drafts(r, running * drafts) + limit +
        ": lower the first to at most " +
        std::to_string(capacity / drafts * flags.integer("dp_size")) + " or raise the last");
  }
  const std::int64_t largest = r.plan.graphs.max_batch_size;
  if (r.plan.graphs.enabled && largest * drafts > capacity) {
    return invalid_argument(flags.shown("cuda_graph_bs") + ": the largest batch of " +
                            std::to_string(largest) + " requests" +
                            times_drafts(r, largest * drafts) + limit + ": leave sizes above " +
                            std::to_string(capacity / drafts) + " out or raise the last");
  }
  return {};
}

bool has_low_latency_exchange(const FlagValues& flags) {
  return flags.text("moe_a2a_backend") == "deepep" && flags.text("deepep_mode") != "normal";
}

// Graphs of larger batches would never run.
std::int64_t largest_useful_batch(const Resolution& r) {
  std::int64_t most = std::int64_t{1} << 30;
  if (r.plan.limits.max_running > 0) most = r.plan.limits.max_running;
  if (has_low_latency_exchange(r.flags)) {
    most = std::min(most, r.input.environment.integer(kCapacity) / tokens_per_request(r));
  }
  return most;
}

Status check_even_sizes(const Resolution& r, std::vector<std::int32_t>& sizes) {
  if (!r.flags.is_on("enable_two_batch_overlap")) return {};
  if (!r.flags.given("cuda_graph_bs")) {
    std::erase_if(sizes, [](std::int32_t size) { return size % 2 != 0; });
    return {};
  }
  for (const std::int32_t size : sizes) {
    if (size % 2 == 0) continue;
    return invalid_argument(r.flags.shown("cuda_graph_bs") +
                            " and --enable-two-batch-overlap: batches are halved, so expected even "
                            "sizes; " +
                            std::to_string(size) + " is odd");
  }
  return {};
}

// Every GPU's devices when --disaggregation-ib-device is JSON; any other text is names.
Status check_devices_by_gpu(const Resolution& r, const std::string& text) {
  const Result<Json> parsed = parse_json(text);
  const std::string shown = r.flags.shown("disaggregation_ib_device");
  if (!parsed.ok()) return parsed.status().in(shown);
  if (!parsed->is_object()) {
    return invalid_argument(shown + ": " + wrong_json_kind("an object", *parsed));
  }
  std::string keys;
  for (const JsonMember& member : *parsed->as_object()) {
    keys += keys.empty() ? "" : ", ";
    keys += member.key;
    if (!member.value.is_string()) {
      return invalid_argument(wrong_json_kind("a string of device names", member.value))
          .in("GPU " + member.key)
          .in(shown);
    }
  }
  const LayoutPlan& layout = r.plan.layout;
  for (std::int32_t rank = 0; rank < layout.ranks_per_node; ++rank) {
    const std::string gpu = std::to_string(layout.first_device + rank * layout.device_step);
    if (parsed->find(gpu) == nullptr) {
      std::string message = shown;
      message.append(": there are no devices for GPU ").append(gpu);
      message.append("; the GPUs named are ").append(keys);
      return invalid_argument(std::move(message));
    }
  }
  return {};
}

Status plan_devices(Resolution& r) {
  const FlagValues& flags = r.flags;
  HandoverPlan& handover = r.plan.handover;
  handover.devices = flags.text("disaggregation_ib_device");
  if (handover.devices.empty()) return {};
  if (handover.backend == "mooncake_tcp") {
    r.warn(flags.shown("disaggregation_ib_device") +
           " has no effect with --disaggregation-transfer-backend mooncake_tcp");
    handover.devices.clear();
    return {};
  }
  const std::size_t first = handover.devices.find_first_not_of(' ');
  if (first != std::string::npos && handover.devices[first] == '{') {
    return check_devices_by_gpu(r, handover.devices);
  }
  if (!handover.devices.ends_with(".json")) return {};
  if (!r.input.read_file) return invalid_argument(handover.devices + " cannot be read here");
  const Result<std::string> text = r.input.read_file(handover.devices);
  if (!text.ok()) return text.status().in(flags.shown("disaggregation_ib_device"));
  return check_devices_by_gpu(r, *text);
}

// Requests of one room must meet: room modulo groups on both sides, unless told otherwise.
void plan_load_balance(Resolution& r) {
  const std::string method = r.flags.text("load_balance_method");
  const Role role = r.plan.role;
  std::string& chosen = r.plan.load_balance;
  // Those that take turns, and on which side of a handover they follow the room instead.
  const bool takes_turns = method == "auto" || method == "round_robin" ||
                           method == "minimum_tokens" || method == "decode_round_robin";
  const bool turns_on_decode = method == "auto" || method == "decode_round_robin";
  if (takes_turns) {
    const bool by_room = role == Role::kPrefill || (role == Role::kDecode && !turns_on_decode);
    chosen = by_room ? "follow_bootstrap_room" : "round_robin";
  } else {
    chosen = method == "shortest_queue" ? "total_requests" : method;
  }
  if (method == "minimum_tokens") {
    r.warn(r.flags.shown("load_balance_method") + " is out of date and works as round_robin");
  }
  if (role == Role::kPrefill && chosen != "follow_bootstrap_room") {
    r.warn(r.flags.shown("load_balance_method") +
           ": decode can no longer compute a request's prefill rank from its room");
  }
}

}  // namespace

std::vector<std::int32_t> GraphPlan::batches_up_to(std::int32_t running) const {
  std::vector<std::int32_t> batches;
  for (const std::int32_t size : batch_sizes) {
    if (size <= running || pads) batches.push_back(std::min(size, running));
  }
  std::ranges::sort(batches);
  batches.erase(std::unique(batches.begin(), batches.end()), batches.end());
  return batches;
}

Status plan_graphs(Resolution& r) {
  const FlagValues& flags = r.flags;
  GraphPlan& graphs = r.plan.graphs;
  r.plan.overlap_schedule = r.on_gpu() && !flags.is_on("disable_overlap_schedule");
  if (!r.on_gpu()) return {};
  graphs.enabled =
      !flags.is_on("disable_cuda_graph") && !flags.is_on("disable_decode_cuda_graph") &&
      flags.text("cuda_graph_backend_decode") != "disabled" && r.plan.role != Role::kPrefill;
  if (!graphs.enabled) return {};
  const std::int32_t running = r.plan.limits.max_running;
  const bool given = flags.given("cuda_graph_bs");
  const std::int64_t most = given ? 1 << 30 : largest_useful_batch(r);
  for (const std::int64_t size : flags.integers("cuda_graph_bs")) {
    if (size <= most) graphs.batch_sizes.push_back(static_cast<std::int32_t>(size));
  }
  FATHOM_RETURN_IF_ERROR(check_even_sizes(r, graphs.batch_sizes));
  if (graphs.batch_sizes.empty()) {
    graphs.enabled = false;
    return {};
  }
  graphs.max_batch_size = *std::ranges::max_element(graphs.batch_sizes);
  graphs.tokens_per_request = tokens_per_request(r);
  graphs.pads = !flags.is_on("disable_cuda_graph_padding");
  if (given && graphs.max_batch_size < running) {
    r.warn(flags.shown("cuda_graph_bs") + ": batches of " +
           std::to_string(graphs.max_batch_size + 1) + " to " + std::to_string(running) +
           " requests run without a graph");
  }
  return {};
}

Status plan_exchange(Resolution& r) {
  ExchangePlan& exchange = r.plan.exchange;
  exchange.backend = r.flags.text("moe_a2a_backend");
  r.plan.speculation.verify_tokens =
      r.plan.speculation.algorithm.empty()
          ? 0
          : static_cast<std::int32_t>(std::min<std::int64_t>(
                std::int64_t{r.plan.limits.max_running} * r.plan.speculation.draft_tokens,
                1 << 30));
  if (exchange.backend == "none") return {};
  exchange.mode = r.flags.text("deepep_mode");
  exchange.dispatch_capacity_tokens =
      static_cast<std::int32_t>(r.input.environment.integer(kCapacity));
  return has_low_latency_exchange(r.flags) ? check_dispatch_capacity(r) : Status();
}

Status plan_handover(Resolution& r) {
  const FlagValues& flags = r.flags;
  const EnvironmentValues& environment = r.input.environment;
  plan_load_balance(r);
  if (r.plan.role == Role::kUnified) return {};
  HandoverPlan& handover = r.plan.handover;
  handover.backend = flags.text("disaggregation_transfer_backend");
  handover.bootstrap_port = r.narrow("disaggregation_bootstrap_port");
  handover.bootstrap_timeout_s =
      static_cast<std::int32_t>(environment.integer("SGLANG_DISAGGREGATION_BOOTSTRAP_TIMEOUT"));
  handover.waiting_timeout_s =
      static_cast<std::int32_t>(environment.integer("SGLANG_DISAGGREGATION_WAITING_TIMEOUT"));
  handover.traffic_class = static_cast<std::int32_t>(environment.integer("MC_IB_TC"));
  FATHOM_RETURN_IF_ERROR(plan_devices(r));
  if (r.plan.role == Role::kDecode) {
    if (flags.integer("dp_size") > 1 && !flags.is_on("prefill_round_robin_balance")) {
      r.warn(
          "--prefill-round-robin-balance is not given: a request's prefill rank is its room "
          "modulo the prefill instance's DP groups all the same");
    }
    return {};
  }
  handover.bootstrap_host = flags.text("host");
  if (flags.has("dist_init_addr")) {
    const Result<MeetingPoint> point = parse_meeting_point(flags.text("dist_init_addr"));
    FATHOM_RETURN_IF_ERROR(point.status());
    handover.bootstrap_host = point->host;
  }
  if (flags.text("host") == "127.0.0.1" || flags.text("host") == "localhost") {
    r.warn(flags.shown("host") +
           ": decode instances on other machines cannot reach the bootstrap server there");
  }
  const std::int64_t queues = environment.integer("SGLANG_DISAGGREGATION_QUEUE_SIZE");
  const std::int64_t threads = environment.integer(
      "SGLANG_DISAGGREGATION_THREAD_POOL_SIZE",
      std::min<std::int64_t>(std::max(4, r.input.machine.processors / 2 / 8), 12));
  if (threads < queues) {
    return invalid_argument("SGLANG_DISAGGREGATION_THREAD_POOL_SIZE is " + std::to_string(threads) +
                            " and SGLANG_DISAGGREGATION_QUEUE_SIZE is " + std::to_string(queues) +
                            "; the first must be at least the second");
  }
  return {};
}

Status plan_ports(Resolution& r) {
  const FlagValues& flags = r.flags;
  std::vector<PortUse>& ports = r.plan.control_ports;
  const std::int32_t http = r.narrow("port");
  std::int32_t base = http + 233;
  std::int32_t handshake_base = http;
  if (flags.has("dist_init_addr")) {
    const Result<MeetingPoint> point = parse_meeting_point(flags.text("dist_init_addr"));
    FATHOM_RETURN_IF_ERROR(point.status());
    base = point->port;
    handshake_base = base;
  }
  if (flags.is_on("enable_dp_attention")) {
    const auto delta = static_cast<std::int32_t>(
        r.input.environment.integer("SGLANG_DP_ATTENTION_HANDSHAKE_PORT_DELTA"));
    ports = {{"rendezvous", base},
             {"tokenizer", base + 1},
             {"detokenizer", base + 2},
             {"rpc", base + 3},
             {"metrics", base + 4},
             {"controller", base + 5},
             {"handshake", handshake_base + delta}};
  } else if (flags.integer("nnodes") > 1) {
    ports = {{"rendezvous", base}};
  }
  if (r.plan.role == Role::kPrefill) {
    ports.push_back({"bootstrap", r.plan.handover.bootstrap_port});
  }
  if (ports.empty()) return {};
  std::map<std::int32_t, std::string> taken = {{http, "HTTP (--port)"}};
  for (const PortUse& use : ports) {
    if (use.port > 65535) {
      return invalid_argument("the port for " + use.user + " would be " + std::to_string(use.port) +
                              ", past 65535; lower " +
                              flags.shown(flags.has("dist_init_addr") ? "dist_init_addr" : "port"));
    }
    const auto [found, fresh] = taken.emplace(use.port, use.user);
    if (!fresh) {
      return invalid_argument(
          "port " + std::to_string(use.port) + " is wanted for " + found->second + " and for " +
          use.user + "; change " + flags.shown("port") +
          (use.user == "bootstrap" ? " or " + flags.shown("disaggregation_bootstrap_port")
                                   : std::string()));
    }
  }
  return {};
}

Status plan_serving(Resolution& r) {
  FlagValues& flags = r.flags;
  const EnvironmentValues& environment = r.input.environment;
  InstancePlan& plan = r.plan;
  plan.model_path = flags.text("model_path");
  plan.tokenizer_path = flags.text("tokenizer_path");
  plan.served_model_name = flags.text("served_model_name");
  plan.weight_version = flags.text("weight_version");
  plan.skip_tokenizer = flags.is_on("skip_tokenizer_init");
  plan.host = flags.text("host");
  plan.port = r.narrow("port");
  if (flags.integer("threads") == 0) {
    flags.derive("threads", Json::integer(r.input.machine.processors));
  }
  plan.threads = r.narrow("threads");
  plan.deterministic = !r.on_gpu() || flags.is_on("enable_deterministic_inference");
  plan.random_seed = static_cast<std::uint64_t>(flags.integer("random_seed"));
  plan.stream_interval = r.narrow("stream_interval");
  plan.incremental_streaming = flags.is_on("stream_output");
  plan.skip_warmup = flags.is_on("skip_server_warmup");
  plan.health_generates = environment.is_on("SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION");
  plan.health_timeout_s =
      static_cast<std::int32_t>(environment.integer("SGLANG_HEALTH_CHECK_TIMEOUT"));
  const std::int64_t warmup_s = environment.integer("SGLANG_WARMUP_TIMEOUT");
  const std::int32_t warmup_default_s = plan.role == Role::kUnified ? 600 : 1800;
  plan.warmup_timeout_s = warmup_s > 0 ? static_cast<std::int32_t>(warmup_s) : warmup_default_s;
  if (flags.has("chat_template")) plan.chat_template = flags.text("chat_template");
  // This parser reads what the model answers to its own encoding alone.
  plan.own_chat_encoding =
      flags.has("tool_call_parser") && flags.text("tool_call_parser") == "deepseekv32";
  plan.use_sampling_defaults = flags.text("sampling_defaults") == "model";
  plan.grammars = flags.text("grammar_backend") != "none";
  plan.file_storage = flags.text("file_storage_path");
  plan.cache_report = flags.is_on("enable_cache_report");
  plan.reasoning_parser = flags.text("reasoning_parser");
  plan.tool_call_parser = flags.text("tool_call_parser");
  plan.forward_unknown_tools = environment.is_on("SGLANG_FORWARD_UNKNOWN_TOOLS");
  plan.default_thinking = environment.is_on("SGLANG_DEFAULT_THINKING");
  plan.auto_truncate = flags.is_on("allow_auto_truncate");
  if (flags.has("preferred_sampling_params")) {
    const Json& preferred = flags.get("preferred_sampling_params");
    if (!preferred.is_object()) {
      return invalid_argument("--preferred-sampling-params: " +
                              wrong_json_kind("an object", preferred));
    }
    plan.preferred_sampling = to_json(preferred);
  }
  plan.log_milliseconds = environment.is_on("SGLANG_LOG_MS");
  return plan_http(r);
}

}  // namespace fathom::config
