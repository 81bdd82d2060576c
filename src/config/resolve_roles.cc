#include <algorithm>

#include "config/resolution.h"

// Steps 7 to 9: speculation, the role of the instance, caches in the host's memory.
namespace fathom::config {
namespace {

Status speculate_by_draft_layer(Resolution& r) {
  FlagValues& flags = r.flags;
  if (r.input.model.num_nextn_predict_layers == 0) {
    return invalid_argument(flags.shown("speculative_algorithm") +
                            ": the checkpoint has no draft layer (num_nextn_predict_layers is 0)");
  }
  if (!flags.has("speculative_draft_model_path")) {
    flags.derive("speculative_draft_model_path", flags.get("model_path"));
  } else {
    r.warn(flags.shown("speculative_draft_model_path") +
           ": DeepSeek's draft layer lies in the checkpoint itself; no path is needed");
  }
  return {};
}

Status choose_draft_shape(Resolution& r) {
  FlagValues& flags = r.flags;
  const bool has_steps = flags.has("speculative_num_steps");
  const bool has_topk = flags.has("speculative_eagle_topk");
  const bool has_tokens = flags.has("speculative_num_draft_tokens");
  if (!has_steps && !has_topk && !has_tokens) {
    flags.derive("speculative_num_steps", Json::integer(3));
    flags.derive("speculative_eagle_topk", Json::integer(1));
    flags.derive("speculative_num_draft_tokens", Json::integer(4));
    return {};
  }
  if (!has_steps || !has_topk) {
    std::string given;
    for (const char* const name :
         {"speculative_num_steps", "speculative_eagle_topk", "speculative_num_draft_tokens"}) {
      if (flags.has(name)) given += (given.empty() ? "" : " and ") + flags.shown(name);
    }
    return invalid_argument(
        given + ": " +
        (has_steps ? "--speculative-eagle-topk is missing" : "--speculative-num-steps is missing") +
        "; give the steps and the top-k, or none of the three for 3, 1 and 4");
  }
  constexpr std::int64_t kMostSteps = 5;
  if (flags.integer("speculative_num_steps") > kMostSteps) {
    return invalid_argument(flags.shown("speculative_num_steps") + ": expected 1 to " +
                            std::to_string(kMostSteps));
  }
  const std::int64_t chain = flags.integer("speculative_num_steps") + 1;
  if (flags.integer("speculative_eagle_topk") == 1) {
    if (flags.integer("speculative_num_draft_tokens", -1) != chain) {
      r.warn("--speculative-num-draft-tokens is " + std::to_string(chain) +
             ", the steps and one more, because --speculative-eagle-topk is 1");
    }
    flags.derive("speculative_num_draft_tokens", Json::integer(chain));
    return {};
  }
  return invalid_argument(flags.shown("speculative_eagle_topk") + " and pages of " +
                          std::to_string(kPageTokens) +
                          " tokens: sparse attention verifies chains alone, so expected 1");
}

Status check_thresholds(Resolution& r, bool speculation) {
  for (const char* const name :
       {"speculative_accept_threshold_single", "speculative_accept_threshold_acc"}) {
    const double threshold = r.flags.number(name);
    if (!(threshold >= 0 && threshold <= 1)) {
      return invalid_argument(r.flags.shown(name) + ": expected a probability, 0 to 1");
    }
    if (speculation && threshold < 1) {
      r.warn(r.flags.shown(name) +
             ": sampled answers have drafts more often than the model's probabilities say");
    }
  }
  return {};
}

Status speculate(Resolution& r, const std::string& algorithm) {
  FlagValues& flags = r.flags;
  if (algorithm == "NGRAM") {
    return invalid_argument("--speculative-algorithm NGRAM: its drafts branch (" +
                            flags.shown("speculative_ngram_max_bfs_breadth") +
                            "), which pages of 64 tokens do not allow; expected EAGLE");
  }
  if (algorithm == "STANDALONE" && flags.is_on("enable_dp_attention")) {
    return invalid_argument("--speculative-algorithm STANDALONE and " + flags.shown("dp_size") +
                            ": a draft model of its own does not work with DP attention");
  }
  if (!flags.has("max_running_requests")) {
    flags.derive("max_running_requests", Json::integer(48));
    r.warn("Max running requests is 48, because of speculation; --max-running-requests overrides");
  }
  if (flags.is_on("enable_mixed_chunk")) {
    flags.derive("enable_mixed_chunk", Json::boolean(false));
    r.warn("--enable-mixed-chunk is off, because of speculation");
  }
  FATHOM_RETURN_IF_ERROR(speculate_by_draft_layer(r));
  return choose_draft_shape(r);
}

Status apply_pipeline(Resolution& r, bool speculation) {
  FlagValues& flags = r.flags;
  if (flags.integer("pp_size") == 1) return {};
  if (speculation) {
    return invalid_argument(flags.shown("pp_size") + " and " +
                            flags.shown("speculative_algorithm") +
                            ": pipeline stages do not work with speculation");
  }
  if (flags.is_on("enable_mixed_chunk")) {
    return invalid_argument(flags.shown("pp_size") +
                            " and --enable-mixed-chunk: pipeline stages do not work with it");
  }
  flags.derive("disable_overlap_schedule", Json::boolean(true));
  r.warn("The overlap scheduler is off, because of " + flags.shown("pp_size"));
  return {};
}

Status become_decode(Resolution& r) {
  FlagValues& flags = r.flags;
  for (const char* const name : {"disaggregation_decode_tp", "disaggregation_decode_dp"}) {
    if (flags.has(name)) {
      return invalid_argument("Cannot set " + flags.shown(name) +
                              " for the decode engine (--disaggregation-mode decode); its own "
                              "--tp-size and --dp-size say it");
    }
  }
  if (!flags.is_on("disaggregation_decode_enable_radix_cache")) {
    flags.derive("disable_radix_cache", Json::boolean(true));
    r.warn("KV cache is forced as chunk cache for decode server: no prefix is reused");
  }
  return {};
}

Status become_prefill(Resolution& r) {
  FlagValues& flags = r.flags;
  if (!flags.has("disaggregation_decode_tp")) {
    flags.derive("disaggregation_decode_tp", flags.get("tp_size"));
  }
  if (!flags.has("disaggregation_decode_dp")) {
    flags.derive("disaggregation_decode_dp", flags.get("dp_size"));
  }
  flags.derive("disaggregation_prefill_pp", flags.get("pp_size"));
  FATHOM_RETURN_IF_ERROR(check_ranges(
      flags, {{"disaggregation_decode_tp", 1, 65536}, {"disaggregation_decode_dp", 1, 65536}}));
  const std::int64_t own = flags.integer("tp_size");
  const std::int64_t decode = flags.integer("disaggregation_decode_tp");
  if (std::max(own, decode) % std::min(own, decode) != 0) {
    return invalid_argument(flags.shown("tp_size") + " and " +
                            flags.shown("disaggregation_decode_tp") +
                            ": the larger must be a multiple of the smaller");
  }
  if (!flags.is_on("enable_piecewise_cuda_graph") && r.on_gpu()) {
    flags.derive("disable_cuda_graph", Json::boolean(true));
    r.warn("CUDA graphs are off on a prefill instance without --enable-piecewise-cuda-graph");
  }
  return {};
}

Status check_role_switch(const Resolution& r) {
  const FlagValues& flags = r.flags;
  if (!flags.is_on("enable_pd_role_switch")) return {};
  for (const char* const name : {"ep_size", "moe_a2a_backend", "speculative_algorithm"}) {
    const bool stands_against = std::string_view(name) == "ep_size"
                                    ? flags.integer(name) > 1
                                    : flags.has(name) && flags.text(name) != "none";
    if (stands_against) {
      return invalid_argument("--enable-pd-role-switch and " + flags.shown(name) +
                              ": a role cannot be switched with it");
    }
  }
  return {};
}

}  // namespace

Status apply_speculation(Resolution& r) {
  FlagValues& flags = r.flags;
  if (!flags.has("speculative_moe_runner_backend")) {
    const bool trtllm = flags.text("moe_runner_backend") == "flashinfer_trtllm";
    flags.derive("speculative_moe_runner_backend",
                 trtllm ? Json::string("auto") : flags.get("moe_runner_backend"));
  } else if (flags.text("speculative_moe_runner_backend") == "flashinfer_trtllm") {
    return invalid_argument(flags.shown("speculative_moe_runner_backend") +
                            ": the draft layer cannot run these kernels");
  }
  if (flags.text("speculative_algorithm") == "NEXTN") {
    flags.derive("speculative_algorithm", Json::string("EAGLE"));
  }
  const std::string algorithm = flags.text("speculative_algorithm");
  FATHOM_RETURN_IF_ERROR(apply_pipeline(r, !algorithm.empty()));
  FATHOM_RETURN_IF_ERROR(check_thresholds(r, !algorithm.empty()));
  if (algorithm.empty()) return {};
  FATHOM_RETURN_IF_ERROR(speculate(r, algorithm));
  SpeculationPlan& plan = r.plan.speculation;
  plan.algorithm = algorithm;
  plan.steps = r.narrow("speculative_num_steps");
  plan.top_k = r.narrow("speculative_eagle_topk");
  plan.draft_tokens = r.narrow("speculative_num_draft_tokens");
  plan.accept_threshold_single = flags.number("speculative_accept_threshold_single");
  plan.accept_threshold_acc = flags.number("speculative_accept_threshold_acc");
  // Where drafts have a say in answers, times must not have one in drafts.
  const bool lossless = plan.accept_threshold_single >= 1 && plan.accept_threshold_acc >= 1;
  plan.off_switch = flags.text("speculative_off_switch") == "auto" && lossless && !r.on_gpu();
  return {};
}

Status apply_role(Resolution& r) {
  const FlagValues& flags = r.flags;
  const std::string mode = flags.text("disaggregation_mode");
  r.plan.role = mode == "prefill"  ? Role::kPrefill
                : mode == "decode" ? Role::kDecode
                                   : Role::kUnified;
  if (mode == "decode") FATHOM_RETURN_IF_ERROR(become_decode(r));
  if (mode == "prefill") FATHOM_RETURN_IF_ERROR(become_prefill(r));
  FATHOM_RETURN_IF_ERROR(check_role_switch(r));
  if (flags.is_on("disaggregation_decode_enable_offload_kvcache")) {
    if (mode != "decode") {
      return invalid_argument("--disaggregation-decode-enable-offload-kvcache and " +
                              flags.shown("disaggregation_mode") +
                              ": it belongs to --disaggregation-mode decode");
    }
    if (r.input.environment.is_on("SGLANG_ENABLE_SPEC_V2")) {
      return invalid_argument(
          "--disaggregation-decode-enable-offload-kvcache and "
          "SGLANG_ENABLE_SPEC_V2=1: they do not work together");
    }
  }
  if (flags.is_on("enable_dsa_cache_layer_split")) {
    const std::string backend = flags.text("disaggregation_transfer_backend");
    if (mode != "prefill" || (backend != "mooncake" && backend != "mooncake_tcp")) {
      return invalid_argument("--enable-dsa-cache-layer-split, " +
                              flags.shown("disaggregation_mode") + " and " +
                              flags.shown("disaggregation_transfer_backend") +
                              ": it needs a prefill instance and mooncake");
    }
  }
  if (mode != "null" && flags.has("max_queued_requests")) {
    r.warn(flags.shown("max_queued_requests") + " has no effect with " +
           flags.shown("disaggregation_mode"));
  }
  return {};
}

Status apply_cache_rules(Resolution& r) {
  FlagValues& flags = r.flags;
  if (!flags.is_on("enable_hierarchical_cache")) return {};
  if (flags.is_on("disable_radix_cache")) {
    const bool forced = !flags.given("disable_radix_cache");
    return invalid_argument(
        flags.shown("enable_hierarchical_cache") + " and " +
        (forced ? flags.shown("disaggregation_mode") + ", which turns the prefix cache off"
                : flags.shown("disable_radix_cache")) +
        ": there are no prefixes to keep");
  }
  if (!flags.has("decode_attention_backend")) {
    flags.derive("decode_attention_backend", Json::string("triton"));
  }
  return {};
}

}  // namespace fathom::config
