#include <algorithm>

#include "config/resolution.h"

// Steps 4 to 6: DP groups, experts, their exchange and their balance; then the plan's layout.
namespace fathom::config {
namespace {

// Python's //: towards minus infinity, so that -1 stays -1.
std::int64_t floor_divide(std::int64_t value, std::int64_t divisor) {
  const std::int64_t quotient = value / divisor;
  return value % divisor < 0 ? quotient - 1 : quotient;
}

Status check_expert_kernels(const Resolution& r) {
  const FlagValues& flags = r.flags;
  const bool fp8 = r.input.model.quantization.has_value() || flags.text("quantization") == "fp8";
  if (flags.text("moe_runner_backend") == "cutlass" && fp8 && flags.integer("ep_size") != 1) {
    return invalid_argument(flags.shown("moe_runner_backend") + " and " + flags.shown("ep_size") +
                            ": these kernels take FP8 weights on one expert rank alone");
  }
  return {};
}

void exchange_experts(Resolution& r) {
  FlagValues& flags = r.flags;
  if (flags.text("moe_runner_backend") == "flashinfer_trtllm") {
    flags.derive("disable_shared_experts_fusion", Json::boolean(true));
    r.warn(flags.shown("moe_runner_backend") + ": the shared expert stays apart");
  }
  const std::string exchange = flags.text("moe_a2a_backend");
  if (exchange == "none") return;
  if (exchange == "deepep" && flags.text("deepep_mode") == "normal") {
    flags.derive("disable_cuda_graph", Json::boolean(true));
    r.warn("CUDA graphs are off, because of --deepep-mode normal");
  }
  if (flags.given("ep_size") && flags.integer("ep_size") != flags.integer("tp_size")) {
    r.warn(flags.shown("ep_size") + " gives way to " + flags.shown("moe_a2a_backend") +
           ", which spreads the experts over all " + std::to_string(flags.integer("tp_size")) +
           " ranks");
  } else {
    r.warn(flags.shown("moe_a2a_backend") +
           ": the expert parallel size is the tensor parallel "
           "size, " +
           std::to_string(flags.integer("tp_size")));
  }
  flags.derive("ep_size", flags.get("tp_size"));
}

Status apply_expert_balance(Resolution& r) {
  FlagValues& flags = r.flags;
  const bool balance = flags.is_on("enable_eplb");
  const bool report = flags.is_on("enable_expert_distribution_metrics") ||
                      flags.text("expert_balancedness_report_mode") != "off";
  if ((balance || report) && !flags.has("expert_distribution_recorder_mode")) {
    flags.derive("expert_distribution_recorder_mode", Json::string("stat"));
  }
  if ((balance || flags.text("init_expert_location") != "trivial") &&
      !flags.has("ep_dispatch_algorithm")) {
    flags.derive("ep_dispatch_algorithm", Json::string("static"));
  }
  if (balance && flags.integer("ep_size") <= 1) {
    return invalid_argument(flags.shown("enable_eplb") + " and an expert parallel size of " +
                            std::to_string(flags.integer("ep_size")) +
                            ": there is nothing to even out on one expert rank");
  }
  if (flags.has("elastic_ep_backend") && flags.text("elastic_ep_backend") != "none" && balance) {
    if (flags.text("eplb_algorithm") == "auto") {
      flags.derive("eplb_algorithm", Json::string("elasticity_aware"));
    }
    if (flags.text("eplb_algorithm") != "elasticity_aware") {
      return invalid_argument(flags.shown("elastic_ep_backend") + " and " +
                              flags.shown("eplb_algorithm") +
                              ": expected --eplb-algorithm auto or elasticity_aware");
    }
  }
  if (!flags.has("expert_distribution_recorder_buffer_size")) {
    flags.derive("expert_distribution_recorder_buffer_size",
                 flags.get("eplb_rebalance_num_iterations"));
  }
  const std::int64_t buffer = flags.integer("expert_distribution_recorder_buffer_size");
  if (balance && flags.integer("eplb_rebalance_num_iterations") < buffer) {
    return invalid_argument(flags.shown("eplb_rebalance_num_iterations") + " and " +
                            flags.shown("expert_distribution_recorder_buffer_size") +
                            ": the first must be at least the second");
  }
  return {};
}

// Long prompts split over ranks, in the words of both generations.
Status apply_context_parallelism(Resolution& r) {
  FlagValues& flags = r.flags;
  if (flags.is_on("enable_prefill_cp")) {
    const std::string strategy = flags.text("cp_strategy");
    if (strategy.empty()) {
      return invalid_argument("--enable-prefill-cp needs --cp-strategy interleave");
    }
    if (strategy == "zigzag") {
      return invalid_argument("--cp-strategy zigzag: DeepSeek-V3.2 needs interleave");
    }
    if (flags.text("disaggregation_mode") == "decode") {
      return invalid_argument(
          "--enable-prefill-cp and --disaggregation-mode decode: a decode "
          "instance has no prompts to split");
    }
  }
  if (!flags.is_on("enable_nsa_prefill_context_parallel")) return {};
  if (flags.integer("tp_size") != 8) {
    return invalid_argument("--enable-nsa-prefill-context-parallel and " + flags.shown("tp_size") +
                            ": expected --tp-size 8");
  }
  if (r.plan.cache.dtype == KvCacheDType::kF8E4M3) {
    return invalid_argument("--enable-nsa-prefill-context-parallel and " +
                            flags.shown("kv_cache_dtype") + ": expected a bf16 cache");
  }
  flags.derive("moe_dense_tp_size", Json::integer(1));
  flags.derive("moe_a2a_backend", Json::string("deepep"));
  return {};
}

}  // namespace

Status apply_data_parallelism(Resolution& r) {
  FlagValues& flags = r.flags;
  const std::int64_t groups = flags.integer("dp_size");
  if (groups == 1) {
    flags.derive("enable_dp_attention", Json::boolean(false));
    flags.derive("enable_dp_lm_head", Json::boolean(false));
    return {};
  }
  flags.derive("schedule_conservativeness",
               Json::number(flags.number("schedule_conservativeness") * 0.3));
  if (flags.integer("tp_size") % groups != 0) {
    return invalid_argument(flags.shown("tp_size") + " and " + flags.shown("dp_size") +
                            ": the number of ranks must be a multiple of the number of DP groups");
  }
  const std::int64_t chunk = floor_divide(flags.integer("chunked_prefill_size"), groups);
  r.warn("DP attention is enabled. The chunked prefill size is adjusted to " +
         std::to_string(chunk) + " for each of " + std::to_string(groups) + " DP groups");
  flags.derive("chunked_prefill_size", Json::integer(chunk));
  return {};
}

Status apply_experts(Resolution& r) {
  FATHOM_RETURN_IF_ERROR(apply_context_parallelism(r));
  FATHOM_RETURN_IF_ERROR(check_expert_kernels(r));
  exchange_experts(r);
  return apply_expert_balance(r);
}

Status plan_layout(Resolution& r) {
  const FlagValues& flags = r.flags;
  LayoutPlan& layout = r.plan.layout;
  layout.nodes = r.narrow("nnodes");
  layout.node_rank = r.narrow("node_rank");
  layout.pipeline_parallel = r.narrow("pp_size");
  layout.tensor_parallel = r.narrow("tp_size");
  layout.data_parallel = r.narrow("dp_size");
  layout.dp_attention = flags.is_on("enable_dp_attention");
  layout.attention_tensor_parallel = layout.tensor_parallel / layout.data_parallel;
  layout.expert_parallel = r.narrow("ep_size");
  layout.dense_tensor_parallel = flags.has("moe_dense_tp_size") ? 1 : layout.tensor_parallel;
  layout.dp_lm_head = flags.is_on("enable_dp_lm_head");
  layout.ranks_per_node =
      static_cast<std::int32_t>(flags.integer("tp_size") * flags.integer("pp_size") / layout.nodes);
  layout.first_rank = layout.node_rank * layout.ranks_per_node;
  layout.first_device = r.narrow("base_gpu_id");
  layout.device_step = r.narrow("gpu_id_step");

  if (layout.tensor_parallel % layout.expert_parallel != 0) {
    return invalid_argument(flags.shown("tp_size") + " and " + flags.shown("ep_size") +
                            ": the first must be a multiple of the second");
  }
  layout.physical_experts = r.input.model.n_routed_experts + r.narrow("ep_num_redundant_experts");
  if (layout.physical_experts % layout.expert_parallel != 0) {
    return invalid_argument(flags.shown("ep_num_redundant_experts") + ": the model's " +
                            std::to_string(r.input.model.n_routed_experts) +
                            " experts and these are " + std::to_string(layout.physical_experts) +
                            ", no multiple of " + std::to_string(layout.expert_parallel) +
                            " expert ranks");
  }
  layout.experts_per_rank = layout.physical_experts / layout.expert_parallel;

  const auto gpus = static_cast<std::int64_t>(r.input.machine.gpus.size());
  const std::int64_t last_gpu =
      layout.first_device + std::int64_t{layout.ranks_per_node - 1} * layout.device_step;
  if (r.on_gpu() && last_gpu >= gpus) {
    std::string asked = flags.shown("tp_size") + " over " + flags.shown("nnodes");
    if (layout.first_device != 0) asked += " from " + flags.shown("base_gpu_id");
    if (layout.device_step != 1) asked += " in steps of " + flags.shown("gpu_id_step");
    return invalid_argument(asked + " puts " + std::to_string(layout.ranks_per_node) +
                            (layout.ranks_per_node == 1 ? " rank" : " ranks") +
                            " on this node, up to GPU " + std::to_string(last_gpu) + "; " +
                            r.input.machine.name + " has " + std::to_string(gpus) +
                            (gpus == 1 ? " GPU, GPU 0" : " GPUs, numbered from 0"));
  }
  return {};
}

}  // namespace fathom::config
