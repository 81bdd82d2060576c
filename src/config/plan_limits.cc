#include <algorithm>
#include <limits>

#include "config/resolution.h"

// What one rank may have under way, and its caches.
namespace fathom::config {
namespace {

constexpr std::int64_t kMib = std::int64_t{1} << 20;
// A batch beyond this gains a CPU little and delays every answer in it.
constexpr std::int32_t kCpuRunning = 64;

Status plan_running(Resolution& r) {
  const FlagValues& flags = r.flags;
  LimitsPlan& limits = r.plan.limits;
  if (!flags.has("max_running_requests")) {
    // A GPU's number follows from the pool, once the weights lie.
    limits.max_running = r.on_gpu() ? 0 : kCpuRunning;
    limits.request_slots = limits.max_running;
    return {};
  }
  const std::int64_t all = flags.integer("max_running_requests");
  const std::int64_t groups = flags.integer("dp_size");
  limits.max_running = static_cast<std::int32_t>(all / groups);
  if (limits.max_running == 0) {
    return invalid_argument(flags.shown("max_running_requests") + " and " + flags.shown("dp_size") +
                            ": max_running_request is zero for each DP group; expected at least " +
                            std::to_string(groups));
  }
  limits.request_slots = static_cast<std::int32_t>(all);
  if (r.plan.role == Role::kDecode) {
    const std::int64_t extra = flags.has("disaggregation_decode_extra_slots")
                                   ? flags.integer("disaggregation_decode_extra_slots")
                                   : (all <= 32 ? 2 * all : 0);
    limits.request_slots = static_cast<std::int32_t>(std::min<std::int64_t>(all + extra, 1 << 30));
    limits.aux_entries = static_cast<std::int32_t>(std::min<std::int64_t>(2 * all, 1 << 30));
  } else if (r.plan.role == Role::kPrefill) {
    limits.aux_entries = 2 * std::min(limits.max_running, 1 << 29);
  }
  return {};
}

// The rows of a step, which are counted in 32 bits: a chunk of prompts beside the rows of all that
// decode.
Status check_step_rows(const Resolution& r) {
  const FlagValues& flags = r.flags;
  const LimitsPlan& limits = r.plan.limits;
  const std::int64_t of_each = std::max(1, r.plan.speculation.verified());
  const std::int64_t most =
      (std::numeric_limits<std::int32_t>::max() - limits.chunk_tokens) / of_each;
  if (limits.max_running <= most) return {};
  return invalid_argument(
      flags.shown("max_running_requests") + ": a step has " + std::to_string(of_each) +
      (of_each == 1 ? " row" : " rows") + " for each request of a rank and " +
      std::to_string(limits.chunk_tokens) +
      " of prompts (--chunked-prefill-size), and counts them in 32 bits; expected at most " +
      std::to_string(most * flags.integer("dp_size")));
}

std::string mib_text(std::int64_t bytes) { return std::to_string(bytes / kMib) + " MiB"; }

// --max-total-tokens as a number of whole pages.
Status check_total_tokens(Resolution& r) {
  if (!r.flags.has("max_total_tokens")) return {};
  const std::int64_t tokens = r.flags.integer("max_total_tokens");
  const std::int64_t pages = tokens / kPageTokens;
  if (pages == 0) {
    return invalid_argument(r.flags.shown("max_total_tokens") + ": expected at least one page of " +
                            std::to_string(kPageTokens) + " tokens");
  }
  if (tokens % kPageTokens != 0) {
    r.warn(r.flags.shown("max_total_tokens") + ": pages have " + std::to_string(kPageTokens) +
           " tokens, so the pool holds " + std::to_string(pages * kPageTokens));
  }
  r.plan.cache.max_tokens = pages * kPageTokens;
  return {};
}

// The pages of one rank's pool in host memory.
Status plan_cpu_pool(Resolution& r) {
  const FlagValues& flags = r.flags;
  CachePlan& cache = r.plan.cache;
  const std::int64_t page_bytes = cache.bytes_per_token * kPageTokens;
  const std::int64_t ranks = r.plan.layout.ranks_per_node;
  const std::int64_t usable_bytes = r.input.machine.usable_memory_bytes();
  const auto cap_bytes =
      static_cast<std::int64_t>(cache.memory_fraction * static_cast<double>(usable_bytes)) / ranks;
  const std::int64_t cap_pages = cap_bytes / page_bytes;
  const bool given = flags.has("max_total_tokens");
  const std::int64_t wanted_pages =
      given ? flags.integer("max_total_tokens") / kPageTokens : 256 * kMib / page_bytes;
  const std::string share = "--mem-fraction-static " + to_json(flags.get("mem_fraction_static")) +
                            " of " + mib_text(usable_bytes) + " for " + std::to_string(ranks) +
                            (ranks == 1 ? " rank" : " ranks") + " is " + mib_text(cap_bytes);
  const std::int64_t pages = std::min({wanted_pages, cap_pages, std::int64_t{1} << 30});
  if (pages < 1) {
    return invalid_argument(share + "; a page of " + std::to_string(kPageTokens) +
                            " tokens takes " + std::to_string(page_bytes) +
                            " bytes, and the pool must hold one; give --max-total-tokens or "
                            "more memory");
  }
  if (cap_pages < wanted_pages) {
    r.warn(share + ", so the pool holds " + std::to_string(pages * kPageTokens) +
           " tokens instead of " + std::to_string(wanted_pages * kPageTokens));
  }
  cache.pages = static_cast<std::int32_t>(pages);
  return {};
}

}  // namespace

Status plan_limits(Resolution& r) {
  const FlagValues& flags = r.flags;
  LimitsPlan& limits = r.plan.limits;
  limits.context_tokens = r.narrow("context_length");
  limits.max_prefill_tokens = r.narrow("max_prefill_tokens");
  const std::int64_t chunk = flags.integer("chunked_prefill_size");
  limits.chunk_tokens = chunk > 0 ? static_cast<std::int32_t>(chunk) : limits.max_prefill_tokens;
  if (chunk <= 0 && r.plan.role != Role::kDecode) {
    r.warn(flags.shown("chunked_prefill_size") + ": a step still takes at most " +
           std::to_string(limits.chunk_tokens) + " prompt tokens (" +
           flags.shown("max_prefill_tokens") + "); answers do not depend on it");
  }
  limits.prefill_max_requests = r.narrow("prefill_max_requests");
  if (r.plan.role == Role::kUnified) limits.max_queued = r.narrow("max_queued_requests");
  limits.reserved_decode_tokens =
      r.plan.role == Role::kDecode ? r.narrow("num_reserved_decode_tokens") : 0;
  limits.reserve_ratio =
      static_cast<float>(std::min(0.7 * flags.number("schedule_conservativeness"), 1.0));
  limits.reserve_clip = static_cast<std::int32_t>(
      r.input.environment.integer("SGLANG_CLIP_MAX_NEW_TOKENS_ESTIMATION"));
  limits.schedule_policy = flags.text("schedule_policy");
  limits.priorities = flags.is_on("enable_priority_scheduling");
  limits.low_priorities_first = flags.is_on("schedule_low_priority_values_first");
  FATHOM_RETURN_IF_ERROR(plan_running(r));
  return check_step_rows(r);
}

Status plan_cache(Resolution& r) {
  const FlagValues& flags = r.flags;
  CachePlan& cache = r.plan.cache;
  const Result<KvLayout> layout = make_kv_layout(r.input.model, r.plan.arithmetic, cache.dtype);
  FATHOM_RETURN_IF_ERROR(layout.status());
  cache.layout = *layout;
  cache.layers = r.input.model.num_hidden_layers;
  if (!r.plan.speculation.algorithm.empty()) {
    cache.layers += r.input.model.num_nextn_predict_layers;
  }
  cache.bytes_per_token =
      cache.layers * (layout->latent_record_bytes() + layout->index_record_bytes());
  cache.memory_fraction = flags.number("mem_fraction_static");
  cache.prefix_cache = !flags.is_on("disable_radix_cache");
  cache.evicts_least_used = flags.text("radix_eviction_policy") == "lfu";
  FATHOM_RETURN_IF_ERROR(check_total_tokens(r));
  if (r.on_gpu()) return {};
  FATHOM_RETURN_IF_ERROR(plan_cpu_pool(r));
  if (!flags.has("max_running_requests")) {
    r.plan.limits.max_running = std::min(kCpuRunning, cache.pages);
    r.plan.limits.request_slots = r.plan.limits.max_running;
  }
  if (cache.pool_tokens() < r.plan.limits.context_tokens) {
    r.warn("the pool holds " + std::to_string(cache.pool_tokens()) +
           " tokens, fewer than a context of " + std::to_string(r.plan.limits.context_tokens) +
           ": a request can have " + std::to_string(cache.pool_tokens() - 1) +
           "; --max-total-tokens makes the pool larger");
  }
  return {};
}

}  // namespace fathom::config
