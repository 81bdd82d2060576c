#include "observe/request_metrics.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/json.h"
#include "base/log.h"
#include "observe/buckets.h"

namespace fathom::observe {

namespace {

void add(std::atomic<std::int64_t>& counter, std::int64_t count) {
  counter.fetch_add(count, std::memory_order_relaxed);
}

std::optional<Histogram> optional_histogram(const std::optional<std::vector<double>>& bounds) {
  return bounds ? std::optional<Histogram>(std::in_place, *bounds) : std::nullopt;
}

bool fit_for_a_label(const std::string& value) {
  return value.size() <= RequestMetrics::kMaxValueBytes &&
         std::none_of(value.begin(), value.end(),
                      [](unsigned char c) { return c < 0x20 || c == 0x7F; }) &&
         repaired_utf8(value) == value;
}

}  // namespace

RequestSeries::RequestSeries(const RequestMetricsOptions& options)
    : first_token_(options.first_token_bounds),
      inter_token_(options.inter_token_bounds),
      latency_(options.latency_bounds),
      retractions_(retraction_bounds()),
      prompt_lengths_(optional_histogram(options.prompt_token_bounds)),
      answer_lengths_(optional_histogram(options.answer_token_bounds)) {}

void RequestSeries::on_tokens(double seconds, std::uint64_t tokens) {
  if (tokens > 0) inter_token_.observe(seconds / static_cast<double>(tokens), tokens);
}

void RequestSeries::on_finished(const FinishedRequest& request) {
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

RequestMetrics::RequestMetrics(RequestMetricsOptions options)
    : options_(std::move(options)), plain_(options_) {}

RequestSeries& RequestMetrics::series(std::vector<std::string> values) {
  const auto given = [](const std::string& value) { return !value.empty(); };
  if (std::none_of(values.begin(), values.end(), given)) return plain_;
  FATHOM_CHECK(values.size() == options_.custom_labels.size());
  for (std::string& value : values) {
    if (!fit_for_a_label(value)) value = kOther;
  }
  const std::lock_guard lock(mutex_);
  auto found = sets_.find(values);
  if (found == sets_.end() && sets_.size() >= options_.max_label_sets) {
    if (!std::exchange(told_, true)) {
      log_warning("requests bring more than " + std::to_string(options_.max_label_sets) +
                  " different sets of custom labels: further ones are counted as \"other\"");
    }
    values.assign(values.size(), std::string(kOther));
    found = sets_.find(values);
  }
  if (found == sets_.end()) {
    found = sets_.emplace(std::move(values), std::make_unique<RequestSeries>(options_)).first;
  }
  return *found->second;
}

RequestMetrics::Written RequestMetrics::all_series(const Labels& labels) const {
  Written all;
  Labels plain = labels;
  for (const std::string& name : options_.custom_labels) plain.emplace_back(name, "");
  all.emplace_back(std::move(plain), &plain_);
  const std::lock_guard lock(mutex_);
  for (const auto& [values, series] : sets_) {
    Labels more = labels;
    for (std::size_t i = 0; i < values.size(); ++i) {
      more.emplace_back(options_.custom_labels[i], values[i]);
    }
    all.emplace_back(std::move(more), series.get());
  }
  return all;
}

void RequestMetrics::write(Exposition& out, const Labels& labels) const {
  const Written all = all_series(labels);
  const auto counter = [&](const char* name, const char* help, auto RequestSeries::*count) {
    out.begin(name, MetricType::kCounter, help);
    for (const auto& [own, series] : all) {
      out.sample(own, static_cast<double>((series->*count).load(std::memory_order_relaxed)));
    }
  };
  const auto histogram = [&](const char* name, const char* help, Histogram RequestSeries::*of) {
    out.begin(name, MetricType::kHistogram, help);
    for (const auto& [own, series] : all) (series->*of).write(out, own);
  };
  const auto lengths = [&](const char* name, const char* help,
                           std::optional<Histogram> RequestSeries::*of) {
    if (!(plain_.*of)) return;
    out.begin(name, MetricType::kHistogram, help);
    for (const auto& [own, series] : all) (series->*of)->write(out, own);
  };
  using Series = RequestSeries;
  counter("sglang:prompt_tokens_total", "Prompt tokens of finished requests.",
          &Series::prompt_tokens_);
  counter("sglang:generation_tokens_total", "Generated tokens of finished requests.",
          &Series::generated_tokens_);
  counter("sglang:cached_tokens_total",
          "Prompt tokens of finished requests that the prefix cache had.", &Series::cached_tokens_);
  counter("sglang:num_requests_total", "Finished requests.", &Series::requests_);
  counter("sglang:num_so_requests_total", "Finished requests with structured output.",
          &Series::structured_requests_);
  counter("sglang:num_aborted_requests_total", "Requests that were aborted or failed.",
          &Series::aborted_requests_);
  histogram("sglang:time_to_first_token_seconds",
            "Seconds from a request's arrival to its first token.", &Series::first_token_);
  histogram("sglang:inter_token_latency_seconds", "Seconds between two tokens of a request.",
            &Series::inter_token_);
  histogram("sglang:e2e_request_latency_seconds",
            "Seconds from a request's arrival to its last token.", &Series::latency_);
  lengths("sglang:prompt_tokens_histogram", "Prompt tokens of a request.",
          &Series::prompt_lengths_);
  lengths("sglang:generation_tokens_histogram", "Generated tokens of a request.",
          &Series::answer_lengths_);
  histogram("sglang:num_retractions", "Times that a request was retracted.", &Series::retractions_);
}

}  // namespace fathom::observe
