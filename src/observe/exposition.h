#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fathom::observe {

// Names and values of a sample's labels, in the order in which they are written.
using Labels = std::vector<std::pair<std::string, std::string>>;

enum class MetricType : std::uint8_t { kCounter, kGauge, kHistogram };

// The Content-Type of Exposition::text().
inline constexpr std::string_view kExpositionType = "text/plain; version=0.0.4; charset=utf-8";

// Writes metrics in Prometheus' text exposition format 0.0.4: the lines of one metric together,
// HELP and TYPE first. Label values are escaped and may hold any bytes: one that is not UTF-8, for
// which Prometheus would refuse the whole text, is repaired. Names are ours and must be valid
// already.
//
// Threads: one at a time.
class Exposition {
 public:
  // Opens a metric; the samples that follow are of it. Every name at most once in a text.
  void begin(std::string_view name, MetricType type, std::string_view help);
  // One sample; `suffix` goes behind the metric's name ("_bucket").
  void sample(const Labels& labels, double value, std::string_view suffix = "");
  // … with one more label behind the others.
  void sample(const Labels& labels,
              std::string_view name,
              std::string_view last,
              double value,
              std::string_view suffix = "");
  // A metric with one sample.
  void gauge(std::string_view name, std::string_view help, const Labels& labels, double value);
  void counter(std::string_view name, std::string_view help, const Labels& labels, double value);

  const std::string& text() const { return text_; }
  std::string take() { return std::move(text_); }

 private:
  void open(std::string_view suffix);
  void label(std::string_view name, std::string_view label, char separator);
  void close(bool labelled, double value);

  std::string text_;
  std::string name_;
};

// The shortest decimal that reads back as `value`; "+Inf", "-Inf", "NaN".
std::string metric_number(double value);

// A bucket's bound as SGLang's label `le` has it, for queries that select by it: a whole number has
// ".0", one from a million on an exponent ("1.1e+06").
std::string bound_text(double bound);

}  // namespace fathom::observe
