#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
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
  // Names of labels whose values requests bring along: --tokenizer-metrics-allowed-custom-labels.
  std::vector<std::string> custom_labels;
  // Sets of such values that are counted apart; a request with one more is counted under kOther.
  std::size_t max_label_sets = 64;
};

// Counts and times of requests that have the same labels: one for each sample of a prompt.
//
// Threads: any; no locks, a few atomic additions for each call.
class RequestSeries {
 public:
  explicit RequestSeries(const RequestMetricsOptions& options);

  // From a request's arrival to its first token.
  void on_first_token(double seconds) { first_token_.observe(seconds); }
  // `tokens` more came after `seconds`: counted once for each of them, so that the histogram is of
  // tokens whatever the size of the pieces.
  void on_tokens(double seconds, std::uint64_t tokens);
  // An aborted request counts as aborted and in nothing else.
  void on_finished(const FinishedRequest& request);

 private:
  friend class RequestMetrics;
  Histogram first_token_;
  Histogram inter_token_;
  Histogram latency_;
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

// The request metrics of an instance, by the values that requests bring for the custom labels.
//
// A client decides on these values, so their number is bounded here: every set costs about 150
// lines of each scrape.
//
// Threads: any.
class RequestMetrics {
 public:
  static constexpr std::size_t kMaxValueBytes = 64;
  // Stands for a value that is too long, has control characters or is not UTF-8, and for the values
  // of a set that is one too many.
  static constexpr std::string_view kOther = "other";

  explicit RequestMetrics(RequestMetricsOptions options);

  // Of requests with these values, which lives as long as this object. `values` are those of
  // custom_labels() in their order; empty ones were not given. Without values, no lock; else one
  // short lock.
  RequestSeries& series(std::vector<std::string> values = {});

  const std::vector<std::string>& custom_labels() const { return options_.custom_labels; }

  void write(Exposition& out, const Labels& labels) const;

 private:
  using Written = std::vector<std::pair<Labels, const RequestSeries*>>;
  Written all_series(const Labels& labels) const;

  const RequestMetricsOptions options_;
  RequestSeries plain_;  // of requests without values
  mutable std::mutex mutex_;
  std::map<std::vector<std::string>, std::unique_ptr<RequestSeries>> sets_;  // guarded by mutex_
  bool told_ = false;  // that there are too many sets; guarded by mutex_
};

}  // namespace fathom::observe
