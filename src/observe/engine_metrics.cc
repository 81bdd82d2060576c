#include "observe/engine_metrics.h"

namespace fathom::observe {

namespace {

constexpr std::int64_t kLeastNs = 1'000'000'000;

double as_double(std::int64_t value) { return static_cast<double>(value); }

// What SGLang tells of features that no instance of ours has: always 0, as SGLang's is without
// them.
void write_constants(Exposition& out, const Labels& labels) {
  out.gauge("sglang:num_running_reqs_offline_batch",
            "Requests that run at an offline batch's priority; there is none.", labels, 0);
  out.gauge("sglang:num_paused_reqs", "Requests paused by an update of weights; there is none.",
            labels, 0);
  out.gauge("sglang:swa_token_usage", "The same of a sliding window's cache; there is none.",
            labels, 0);
  out.gauge("sglang:mamba_usage", "The same of a state space's cache; there is none.", labels, 0);
  out.gauge("sglang:utilization", "Of what a latency goal allows; no goal is known.", labels, 0);
}

void write_gauges(Exposition& out,
                  const Labels& labels,
                  const EngineValues& values,
                  const EngineGrowth& growth) {
  const double tokens = as_double(std::int64_t{values.pages} * values.page_tokens);
  const double used = as_double(std::int64_t{values.pages_used} * values.page_tokens);
  out.gauge("sglang:num_running_reqs", "Requests that run.", labels, values.running);
  out.gauge("sglang:num_queue_reqs", "Requests that wait to run.", labels, values.waiting);
  out.gauge("sglang:num_grammar_queue_reqs", "Requests that wait for their grammar.", labels,
            values.waiting_for_grammar);
  out.gauge("sglang:num_used_tokens", "Cache tokens in pages that requests hold.", labels, used);
  out.gauge("sglang:token_usage", "The part of the cache that requests hold.", labels,
            tokens > 0 ? used / tokens : 0);
  out.gauge("sglang:max_total_num_tokens", "Tokens that the cache holds.", labels, tokens);
  out.gauge("sglang:decode_sum_seq_lens",
            "Summed lengths of the requests that the last step decoded.", labels,
            as_double(values.decode_context_tokens));
  out.gauge("sglang:gen_throughput", "Generated tokens per second since the scrape before.", labels,
            growth.generated_per_second);
  const double prompt_rows = growth.cached_tokens + growth.prefill_tokens;
  out.gauge("sglang:cache_hit_rate",
            "Of the prompt tokens since the scrape before, the part that was in the prefix cache.",
            labels, prompt_rows > 0 ? growth.cached_tokens / prompt_rows : 0);
  if (values.draft_tokens > 0) {
    const double length = growth.verify_steps > 0
                              ? (growth.verify_steps + growth.accepted_drafts) / growth.verify_steps
                              : 0;
    out.gauge("sglang:spec_accept_length",
              "Tokens that a request got of a step that decoded it, since the scrape before.",
              labels, length);
    out.gauge("sglang:spec_accept_rate",
              "Those tokens as a part of the most that a step verifies, the first included.",
              labels, length / values.draft_tokens);
  }
  out.gauge("sglang:num_retracted_reqs",
            "Times that a request gave its pages up since the scrape before.", labels,
            growth.retracted_requests);
  out.gauge("sglang:new_token_ratio",
            "The part of its remaining tokens that admission keeps room for.", labels,
            values.new_token_ratio);
  out.gauge("sglang:is_cuda_graph", "Whether the last decode step ran as a captured graph.", labels,
            values.decode_in_graph ? 1 : 0);
  out.gauge("fathom:free_pages", "Cache pages that nobody holds.", labels,
            values.pages - values.pages_used);
  out.gauge("fathom:used_pages", "Cache pages that are held.", labels, values.pages_used);
  out.gauge("fathom:leaked_pages", "Held cache pages that belong to no request; always 0.", labels,
            values.pages_leaked);
  out.gauge("fathom:free_slots", "Requests that could run beside those that do.", labels,
            values.slots - values.running);
  out.gauge("fathom:slots", "Requests that may run at once.", labels, values.slots);
}

void write_counters(Exposition& out, const Labels& labels, const EngineValues& values) {
  out.begin("sglang:realtime_tokens_total", MetricType::kCounter,
            "Tokens as steps compute, reuse and generate them.");
  out.sample(labels, "mode", "prefill_compute", as_double(values.prefill_tokens));
  out.sample(labels, "mode", "prefill_cache", as_double(values.cached_tokens));
  out.sample(labels, "mode", "decode", as_double(values.generated_tokens));
  out.counter("sglang:evicted_tokens_total", "Tokens that left the prefix cache to make room.",
              labels, as_double(values.evicted_tokens));
  out.begin("sglang:cuda_graph_passes_total", MetricType::kCounter,
            "Steps with decoding requests, as captured graphs or not.");
  out.sample(labels, "mode", "decode_cuda_graph", as_double(values.graph_passes));
  out.sample(labels, "mode", "decode_none", as_double(values.plain_passes));
  out.counter("sglang:num_grammar_total", "Grammars that requests asked for.", labels,
              as_double(values.grammar_requests));
  out.counter("sglang:num_grammar_cache_hit_total", "Those that were compiled already.", labels,
              as_double(values.grammar_cache_hits));
  out.counter("sglang:num_grammar_aborted_total", "Those that were wrong or too slow.", labels,
              as_double(values.grammar_failures));
  out.counter("sglang:num_grammar_timeout_total", "Those that were not compiled in time.", labels,
              as_double(values.grammar_timeouts));
  out.counter("sglang:num_retracted_requests_total",
              "Times that a request gave its pages up and waited again.", labels,
              as_double(values.retracted_requests));
  out.counter("sglang:num_retracted_input_tokens_total", "Prompt tokens of those requests.", labels,
              as_double(values.retracted_prompt_tokens));
  out.counter("sglang:num_retracted_output_tokens_total", "Generated tokens of those requests.",
              labels, as_double(values.retracted_answer_tokens));
}

}  // namespace

Rate::Growth Rate::look(std::int64_t total, std::int64_t now_ns) {
  const std::lock_guard lock(mutex_);
  // The latest look that is old enough to measure from.
  while (samples_.size() > 1 &&
         (now_ns - samples_[1].at_ns >= kLeastNs || now_ns - samples_.front().at_ns > window_ns_)) {
    samples_.pop_front();
  }
  if (!samples_.empty() && now_ns - samples_.front().at_ns >= kLeastNs) {
    const Sample& from = samples_.front();
    last_.count = as_double(total - from.total);
    last_.per_second = last_.count / (as_double(now_ns - from.at_ns) * 1e-9);
  }
  if (samples_.empty() || now_ns - samples_.back().at_ns >= kLeastNs / 10) {
    samples_.push_back({now_ns, total});
  }
  return last_;
}

void write_engine_metrics(Exposition& out,
                          const Labels& labels,
                          const EngineValues& values,
                          const EngineGrowth& growth) {
  write_gauges(out, labels, values, growth);
  write_constants(out, labels);
  write_counters(out, labels, values);
}

}  // namespace fathom::observe
