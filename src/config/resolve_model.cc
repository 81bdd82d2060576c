#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "config/resolution.h"

// Steps 1 to 3: names and device, the memory class, the model.
namespace fathom::config {
namespace {

constexpr std::int64_t kMost = std::int64_t{1} << 30;
constexpr std::int64_t kMostRanks = 65536;

Status choose_device(Resolution& r) {
  const bool has_gpus = !r.input.machine.gpus.empty();
  if (!r.flags.has("device") || r.flags.text("device") == "auto") {
    r.flags.derive("device", Json::string(has_gpus ? "cuda" : "cpu"));
  }
  const std::string device = r.flags.text("device");
  if (device != "cpu" && device != "cuda") {
    return invalid_argument("--device " + device + ": expected cpu, cuda or auto");
  }
  if (device == "cuda" && !has_gpus) {
    const std::string& why = r.input.machine.no_gpus_because;
    return invalid_argument(
        "--device cuda: " + (why.empty() ? r.input.machine.name + " has no GPUs" : why) +
        "; --device cpu runs without one, and --dry-run --for-machine h200x8 "
        "resolves for a machine that has them");
  }
  r.plan.device = device == "cuda" ? DeviceKind::kCuda : DeviceKind::kCpu;
  return {};
}

// Later SGLang says --attn-dp-size N for --dp-size N --enable-dp-attention.
Status translate_attention_groups(Resolution& r) {
  if (r.flags.integer("attn_dp_size") == 1) return {};
  if (r.flags.integer("dp_size") > 1) {
    return invalid_argument(r.flags.shown("attn_dp_size") + " and " + r.flags.shown("dp_size") +
                            ": give one of them; both make DP groups");
  }
  r.flags.derive("dp_size", r.flags.get("attn_dp_size"));
  r.flags.derive("enable_dp_attention", Json::boolean(true));
  return {};
}

struct MemoryClass {
  std::int64_t below_mib = 0;
  std::int64_t chunk_tokens = 0;
  std::int64_t graph_max = 0;          // with fewer than four ranks
  std::int64_t graph_max_of_four = 0;  // with four ranks or more
};

// By what SGLang calls T4 and 4080; A10 and 4090; A100 40 GB; H100 and A100 80 GB; H200; B200.
constexpr std::int64_t kGib = 1024;  // in MiB
constexpr MemoryClass kMemoryClasses[] = {
    {20 * kGib, 2048, 8, 8},      {35 * kGib, 2048, 24, 80},
    {60 * kGib, 4096, 32, 160},   {90 * kGib, 8192, 256, 512},
    {160 * kGib, 8192, 256, 512}, {std::int64_t{1} << 40, 16384, 512, 512}};

// Rounded to three digits of the decimal fraction, as Python's round() does.
double three_digits(double value) {
  char text[64];
  std::snprintf(text, sizeof text, "%.3f", value);
  return std::strtod(text, nullptr);
}

double derived_memory_fraction(const Resolution& r, std::int64_t total_mib) {
  const FlagValues& flags = r.flags;
  const auto number = [&](std::string_view name) {
    return static_cast<double>(flags.integer(name));
  };
  const double graph_max = number("cuda_graph_max_bs");
  const double chunk = flags.integer("chunked_prefill_size") > 0 ? number("chunked_prefill_size")
                                                                 : number("max_prefill_tokens");
  double reserved_mib = 512 + std::max(chunk, 2048.0) * 1.5 + graph_max * 2 +
                        number("tp_size") * number("pp_size") / 8 * 1024;
  // Before the model turns DP attention on: only what was written counts here.
  if (flags.is_on("enable_dp_attention")) {
    reserved_mib += graph_max * number("dp_size") * (graph_max > 300 ? 4.5 : 3.0);
  }
  if (total_mib > 60 * kGib) reserved_mib = std::max(reserved_mib, 10.0 * 1024);
  const std::string algorithm = flags.text("speculative_algorithm");
  if (algorithm == "STANDALONE") {
    reserved_mib += 6 * 1024;
  } else if (!algorithm.empty() && algorithm != "NGRAM") {
    reserved_mib += 2 * 1024;
  }
  if (flags.is_on("enable_piecewise_cuda_graph")) {
    const std::int64_t whole_mib = flags.integer("piecewise_cuda_graph_max_tokens") / 8;
    reserved_mib += static_cast<double>(whole_mib);
  }
  const auto total = static_cast<double>(total_mib);
  return three_digits((total - reserved_mib) / total);
}

Status apply_graph_config(Resolution& r) {
  const Json& config = r.flags.get("cuda_graph_config");
  if (config.is_null()) return {};
  if (!config.is_object()) {
    return invalid_argument(r.flags.shown("cuda_graph_config") +
                            ": expected an object like {\"decode\": {\"backend\": \"full\"}}");
  }
  if (config.find_set("prefill") != nullptr) {
    r.warn("--cuda-graph-config: prefill has no graphs; what is said of it has no effect");
  }
  const Json* decode = config.find_set("decode");
  if (decode == nullptr) return {};
  if (const Json* backend = decode->find_set("backend")) {
    const std::string* name = backend->as_string();
    if (name == nullptr || (*name != "full" && *name != "disabled")) {
      return invalid_argument("--cuda-graph-config: decode.backend is " + to_json(*backend) +
                              ", expected \"full\" or \"disabled\"");
    }
    r.flags.derive("cuda_graph_backend_decode", *backend);
  }
  if (const Json* max = decode->find_set("max_bs")) {
    const std::optional<std::int64_t> value = max->as_int64();
    if (!value.has_value() || *value < 1 || *value > kMost) {
      return invalid_argument("--cuda-graph-config: decode.max_bs is " + to_json(*max) +
                              ", expected a whole number above 0");
    }
    r.flags.derive("cuda_graph_max_bs", *max);
  }
  return {};
}

Status apply_gpu_memory_class(Resolution& r) {
  FlagValues& flags = r.flags;
  const std::int64_t total_mib = r.input.machine.gpus.front().memory_mib;
  const auto* memory_class = std::ranges::find_if(
      kMemoryClasses, [&](const MemoryClass& c) { return total_mib < c.below_mib; });
  if (!flags.has("chunked_prefill_size")) {
    flags.derive("chunked_prefill_size", Json::integer(memory_class->chunk_tokens));
  }
  FATHOM_RETURN_IF_ERROR(apply_graph_config(r));
  if (!flags.has("cuda_graph_max_bs")) {
    flags.derive("cuda_graph_max_bs",
                 Json::integer(flags.integer("tp_size") < 4 ? memory_class->graph_max
                                                            : memory_class->graph_max_of_four));
  }
  if (flags.has("cuda_graph_bs")) {
    const std::vector<std::int64_t> sizes = flags.integers("cuda_graph_bs");
    flags.derive("cuda_graph_max_bs", Json::integer(*std::ranges::max_element(sizes)));
  } else {
    Json::Array sizes;
    for (const std::int64_t size : generated_batch_sizes(
             flags.integer("cuda_graph_max_bs"), flags.has("speculative_algorithm"),
             flags.is_on("disable_cuda_graph_padding"))) {
      sizes.push_back(Json::integer(size));
    }
    flags.derive("cuda_graph_bs", Json::array(std::move(sizes)));
  }
  if (!flags.has("piecewise_cuda_graph_max_tokens")) {
    flags.derive("piecewise_cuda_graph_max_tokens", flags.get("chunked_prefill_size"));
  }
  if (!flags.has("mem_fraction_static")) {
    const double fraction = derived_memory_fraction(r, total_mib);
    if (fraction <= 0) {
      return invalid_argument(
          "without --mem-fraction-static nothing of " + std::to_string(total_mib) +
          " MiB is left for weights and caches beside what " + flags.shown("chunked_prefill_size") +
          " and graphs up to " + std::to_string(flags.integer("cuda_graph_max_bs")) +
          " requests may need; give --mem-fraction-static or lower these");
    }
    flags.derive("mem_fraction_static", Json::number(fraction));
  }
  return {};
}

bool is_blackwell(const MachineFacts& machine) {
  if (machine.gpus.empty()) return false;
  const std::string& name = machine.gpus.front().name;
  for (const char* const model : {"B100", "B200", "B300"}) {
    if (name.find(model) != std::string::npos) return true;
  }
  return false;
}

Status choose_cache_dtype(Resolution& r) {
  FlagValues& flags = r.flags;
  const Result<Arithmetic> arithmetic = parse_arithmetic(flags.text("arithmetic"));
  FATHOM_RETURN_IF_ERROR(arithmetic.status());
  r.plan.arithmetic = *arithmetic;
  if (*arithmetic == Arithmetic::kExact && r.on_gpu()) {
    return invalid_argument(flags.shown("arithmetic") + " and " + flags.shown("device") +
                            ": a GPU computes the deployed formats alone; give --device cpu or "
                            "leave --arithmetic out");
  }
  const std::string wanted = flags.text("kv_cache_dtype");
  if (wanted == "fp8_e5m2" || wanted == "fp4_e2m1") {
    return invalid_argument(flags.shown("kv_cache_dtype") +
                            ": sparse attention reads bf16 and fp8_e4m3 caches alone");
  }
  Result<KvCacheDType> dtype = parse_kv_cache_dtype(wanted);
  FATHOM_RETURN_IF_ERROR(dtype.status());
  const Result<KvLayout> layout = make_kv_layout(r.input.model, *arithmetic, *dtype);
  FATHOM_RETURN_IF_ERROR(layout.status());
  if (*arithmetic == Arithmetic::kExact) return {};
  if (*dtype == KvCacheDType::kAuto) {
    const bool fp8 = r.on_gpu() && is_blackwell(r.input.machine);
    flags.derive("kv_cache_dtype", Json::string(fp8 ? "fp8_e4m3" : "bfloat16"));
    dtype = fp8 ? KvCacheDType::kF8E4M3 : KvCacheDType::kBF16;
  }
  r.plan.cache.dtype = *dtype;
  if (*dtype != KvCacheDType::kF8E4M3) return {};
  for (const auto& [name, kernel] : {std::pair{"nsa_prefill_backend", "flashmla_auto"},
                                     std::pair{"nsa_decode_backend", "flashmla_kv"}}) {
    if (flags.given(name) && flags.text(name) != kernel) {
      r.warn(flags.shown(name) + ": an FP8 cache takes " + std::string(kernel));
    }
    flags.derive(name, Json::string(kernel));
  }
  return {};
}

}  // namespace

std::vector<std::int64_t> generated_batch_sizes(std::int64_t max,
                                                bool speculation,
                                                bool every_size) {
  std::vector<std::int64_t> sizes;
  const auto add = [&](std::int64_t first, std::int64_t last, std::int64_t step) {
    for (std::int64_t size = first; size <= std::min(last, max); size += step) {
      sizes.push_back(size);
    }
  };
  if (every_size) {
    add(1, max, 1);
  } else if (speculation) {
    add(1, 8, 1);
    add(10, 32, 2);
    add(40, 64, 4);
    add(72, 256, 8);
    add(272, max, 16);
  } else {
    for (const std::int64_t size : {1, 2, 4, 8, 12}) add(size, size, 1);
    add(16, 256, 8);
    add(272, 511, 16);
    add(512, max, 32);
  }
  return sizes;
}

Status fill_missing(Resolution& r) {
  FlagValues& flags = r.flags;
  FATHOM_RETURN_IF_ERROR(
      check_ranges(flags, {{"tp_size", 1, kMostRanks},
                           {"pp_size", 1, kMostRanks},
                           {"dp_size", 1, kMostRanks},
                           {"ep_size", 1, kMostRanks},
                           {"attn_dp_size", 1, kMostRanks},
                           {"attn_cp_size", 1, kMostRanks},
                           {"nnodes", 1, kMostRanks},
                           {"node_rank", 0, kMostRanks},
                           {"base_gpu_id", 0, 1024},
                           {"gpu_id_step", 1, 1024},
                           {"port", 0, 65535},
                           {"disaggregation_bootstrap_port", 1, 65535},
                           {"nccl_port", 1, 65535},
                           {"grpc_port", 1, 65535},
                           {"chunked_prefill_size", -1, kMost},
                           {"max_prefill_tokens", 1, kMost},
                           {"prefill_max_requests", 1, kMost},
                           {"max_running_requests", 1, kMost},
                           {"max_queued_requests", 1, kMost},
                           {"max_total_tokens", 1, kMost},
                           {"context_length", 1, kMost},
                           {"page_size", 1, kMost},
                           {"stream_interval", 1, kMost},
                           {"tokenizer_worker_num", 1, 4096},
                           {"threads", 0, 1024},
                           {"cuda_graph_max_bs", 1, kMost},
                           {"ep_num_redundant_experts", 0, kMost},
                           {"num_reserved_decode_tokens", 0, kMost},
                           {"disaggregation_decode_extra_slots", 0, kMost},
                           {"speculative_num_steps", 1, 1024},
                           {"speculative_eagle_topk", 1, 1024},
                           {"speculative_num_draft_tokens", 1, 1024},
                           {"eplb_rebalance_num_iterations", 1, kMost},
                           {"expert_distribution_recorder_buffer_size", -1, kMost}}));
  for (const std::int64_t size : flags.integers("cuda_graph_bs")) {
    if (size < 1 || size > kMost) {
      return invalid_argument(flags.shown("cuda_graph_bs") + ": expected numbers above 0, one is " +
                              std::to_string(size));
    }
  }
  for (const char* const name : {"tokenizer_path", "served_model_name"}) {
    if (!flags.has(name)) flags.derive(name, flags.get("model_path"));
  }
  FATHOM_RETURN_IF_ERROR(choose_device(r));
  if (!flags.has("random_seed")) {
    flags.derive("random_seed",
                 Json::integer(static_cast<std::int64_t>(r.input.drawn_seed & 0x3fffffff)));
  }
  return translate_attention_groups(r);
}

Status apply_memory_class(Resolution& r) {
  FlagValues& flags = r.flags;
  if (flags.has("mem_fraction_static")) {
    const double fraction = flags.number("mem_fraction_static");
    if (!(fraction > 0 && fraction <= 1)) {
      return invalid_argument(flags.shown("mem_fraction_static") +
                              ": expected a part of the memory, above 0 and at most 1");
    }
  }
  if (r.on_gpu()) return apply_gpu_memory_class(r);
  // A step of so many rows keeps other requests' answers waiting for a moment only.
  constexpr std::int64_t kCpuChunkTokens = 512;
  constexpr double kCpuMemoryFraction = 0.88;
  if (!flags.has("chunked_prefill_size")) {
    flags.derive("chunked_prefill_size", Json::integer(kCpuChunkTokens * flags.integer("dp_size")));
  }
  if (!flags.has("mem_fraction_static")) {
    flags.derive("mem_fraction_static", Json::number(kCpuMemoryFraction));
  }
  return {};
}

Status apply_model(Resolution& r) {
  FlagValues& flags = r.flags;
  if (!flags.has("attention_backend") && !flags.has("prefill_attention_backend") &&
      !flags.has("decode_attention_backend")) {
    flags.derive("attention_backend", Json::string("nsa"));
  }
  flags.derive("enable_dp_attention", Json::boolean(true));
  if (flags.integer("dp_size") < flags.integer("tp_size")) {
    r.warn("NSA with TP mode: " + flags.shown("dp_size") + " is below " + flags.shown("tp_size") +
           ", so ranks share each request's attention");
  }
  if (flags.given("page_size") && flags.integer("page_size") != kPageTokens) {
    r.warn(flags.shown("page_size") + ": sparse attention has pages of " +
           std::to_string(kPageTokens) + " tokens; going on with these");
  }
  flags.derive("page_size", Json::integer(kPageTokens));
  FATHOM_RETURN_IF_ERROR(choose_cache_dtype(r));

  const std::int32_t model_limit = r.input.model.max_position_embeddings;
  if (!flags.has("context_length")) {
    flags.derive("context_length", Json::integer(model_limit));
  } else if (flags.integer("context_length") > model_limit) {
    constexpr std::string_view kOverwrite = "SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN";
    if (!r.input.environment.is_on(kOverwrite)) {
      return invalid_argument(flags.shown("context_length") + ": the model's limit is " +
                              std::to_string(model_limit) + "; lower it, or set " +
                              std::string(kOverwrite) + "=1");
    }
    r.warn(flags.shown("context_length") + " passes the model's limit of " +
           std::to_string(model_limit) + "; answers beyond it may be wrong");
  }
  return {};
}

}  // namespace fathom::config
