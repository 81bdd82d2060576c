#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "observe/exposition.h"
#include "observe/histogram.h"

namespace fathom::observe {

// How a request ended, as metrics count it.
struct FinishedRequest {
  std::int64_t prompt_tokens = 0;
  std::int64_t generated_tokens = 0;
  std::int64_t cached_tokens = 0;  // of the prompt
  std::int64_t retractions = 0;
  double seconds = 0;       // from its arrival
  bool aborted = false;     // its client or a failure ended it
  bool structured = false;  // its answer was held to a grammar
};

struct RequestMetricsOptions {
  std::vector<double> first_token_bounds;  // seconds
  std::vector<double> inter_token_bounds;
  std::vector<double> latency_bounds;
  // The lengths' histograms exist with these alone: --collect-tokens-histogram.
  std::optional<std::vector<double>> prompt_token_bounds;
  std::optional<std::vector<double>> answer_token_bounds;
};

// Counts and times of requests: one for each sample of a prompt.
//
// Threads: any; no locks, a few atomic additions for each call.
class RequestMetrics {
 public:
  explicit RequestMetrics(RequestMetricsOptions options);

  // From a request's arrival to its first token.
  void on_first_token(double seconds) { first_token_.observe(seconds); }
  // `tokens` more came after `seconds`: counted once for each of them, so that the histogram is of
  // tokens whatever the size of the pieces.
  void on_tokens(double seconds, std::uint64_t tokens);
  // What a request waited for before it ran first.
  void on_left_queue(double seconds) { queue_.observe(seconds); }
  // An aborted request counts as aborted and in nothing else.
  void on_finished(const FinishedRequest& request);

  // `labels` are of the metrics of requests, `scheduler_labels` of those of the queue.
  void write(Exposition& out, const Labels& labels, const Labels& scheduler_labels) const;

 private:
  Histogram first_token_;
  Histogram inter_token_;
  Histogram latency_;
  Histogram queue_;
  Histogram retractions_;
  std::optional<Histogram> prompt_lengths_;
  std::optional<Histogram> answer_lengths_;
  std::atomic<std::int64_t> prompt_tokens_ = 0;
  std::atomic<std::int64_t> generated_tokens_ = 0;
  std::atomic<std::int64_t> cached_tokens_ = 0;
  std::atomic<std::int64_t> requests_ = 0;
  std::atomic<std::int64_t> structured_requests_ = 0;
  std::atomic<std::int64_t> aborted_requests_ = 0;
};

}  // namespace fathom::observe
