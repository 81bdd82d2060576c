#include "observe/request_metrics.h"

#include "observe/buckets.h"

namespace fathom::observe {

namespace {

void add(std::atomic<std::int64_t>& counter, std::int64_t count) {
  counter.fetch_add(count, std::memory_order_relaxed);
}

double value_of(const std::atomic<std::int64_t>& counter) {
  return static_cast<double>(counter.load(std::memory_order_relaxed));
}

void write_histogram(Exposition& out,
                     std::string_view name,
                     std::string_view help,
                     const Labels& labels,
                     const Histogram& histogram) {
  out.begin(name, MetricType::kHistogram, help);
  histogram.write(out, labels);
}

}  // namespace

RequestMetrics::RequestMetrics(RequestMetricsOptions options)
    : first_token_(std::move(options.first_token_bounds)),
      inter_token_(std::move(options.inter_token_bounds)),
      latency_(std::move(options.latency_bounds)),
      queue_(queue_time_bounds()),
      retractions_(retraction_bounds()) {
  if (options.prompt_token_bounds) {
    prompt_lengths_.emplace(std::move(*options.prompt_token_bounds));
  }
  if (options.answer_token_bounds) {
    answer_lengths_.emplace(std::move(*options.answer_token_bounds));
  }
}

void RequestMetrics::on_tokens(double seconds, std::uint64_t tokens) {
  if (tokens > 0) inter_token_.observe(seconds / static_cast<double>(tokens), tokens);
}

void RequestMetrics::on_finished(const FinishedRequest& request) {
  if (request.aborted) {
    add(aborted_requests_, 1);
    return;
  }
  add(requests_, 1);
  if (request.structured) add(structured_requests_, 1);
  add(prompt_tokens_, request.prompt_tokens);
  add(generated_tokens_, request.generated_tokens);
  add(cached_tokens_, request.cached_tokens);
  latency_.observe(request.seconds);
  retractions_.observe(static_cast<double>(request.retractions));
  if (prompt_lengths_) prompt_lengths_->observe(static_cast<double>(request.prompt_tokens));
  if (answer_lengths_) answer_lengths_->observe(static_cast<double>(request.generated_tokens));
}

void RequestMetrics::write(Exposition& out,
                           const Labels& labels,
                           const Labels& scheduler_labels) const {
  out.counter("sglang:prompt_tokens_total", "Prompt tokens of finished requests.", labels,
              value_of(prompt_tokens_));
  out.counter("sglang:generation_tokens_total", "Generated tokens of finished requests.", labels,
              value_of(generated_tokens_));
  out.counter("sglang:cached_tokens_total",
              "Prompt tokens of finished requests that the prefix cache had.", labels,
              value_of(cached_tokens_));
  out.counter("sglang:num_requests_total", "Finished requests.", labels, value_of(requests_));
  out.counter("sglang:num_so_requests_total", "Finished requests with structured output.", labels,
              value_of(structured_requests_));
  out.counter("sglang:num_aborted_requests_total", "Requests that were aborted or failed.", labels,
              value_of(aborted_requests_));
  write_histogram(out, "sglang:time_to_first_token_seconds",
                  "Seconds from a request's arrival to its first token.", labels, first_token_);
  write_histogram(out, "sglang:inter_token_latency_seconds",
                  "Seconds between two tokens of a request.", labels, inter_token_);
  write_histogram(out, "sglang:e2e_request_latency_seconds",
                  "Seconds from a request's arrival to its last token.", labels, latency_);
  if (prompt_lengths_) {
    write_histogram(out, "sglang:prompt_tokens_histogram", "Prompt tokens of a request.", labels,
                    *prompt_lengths_);
  }
  if (answer_lengths_) {
    write_histogram(out, "sglang:generation_tokens_histogram", "Generated tokens of a request.",
                    labels, *answer_lengths_);
  }
  write_histogram(out, "sglang:queue_time_seconds",
                  "Seconds that a request waited before it ran first.", scheduler_labels, queue_);
  write_histogram(out, "sglang:num_retractions", "Times that a request was retracted.",
                  scheduler_labels, retractions_);
}

}  // namespace fathom::observe
