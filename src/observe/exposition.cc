#include "observe/exposition.h"

#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "base/json.h"

namespace fathom::observe {

namespace {

std::string_view type_name(MetricType type) {
  switch (type) {
    case MetricType::kCounter:
      return "counter";
    case MetricType::kGauge:
      return "gauge";
    case MetricType::kHistogram:
      return "histogram";
  }
  return "untyped";
}

// What the format wants escaped: in HELP texts all but the quotes. A NUL ends the text for some
// readers.
void append_escaped(std::string& out, std::string_view text, bool quotes) {
  for (const char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quotes) {
      out += "\\\"";
    } else if (c == '\0') {
      out += "\uFFFD";
    } else {
      out += c;
    }
  }
}

}  // namespace

std::string metric_number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  std::array<char, 32> digits{};
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  FATHOM_CHECK(error == std::errc());
  return {digits.data(), end};
}

std::string bound_text(double bound) {
  if (!std::isfinite(bound) || bound != std::floor(bound)) return metric_number(bound);
  const bool large = bound >= 1e6;
  std::array<char, 32> digits{};
  const auto [end, error] =
      std::to_chars(digits.data(), digits.data() + digits.size(), bound,
                    large ? std::chars_format::scientific : std::chars_format::fixed);
  if (error != std::errc()) return metric_number(bound);  // a huge negative one
  return std::string(digits.data(), end) + (large ? "" : ".0");
}

void Exposition::begin(std::string_view name, MetricType type, std::string_view help) {
  name_ = name;
  text_ += "# HELP ";
  text_ += name;
  text_ += ' ';
  append_escaped(text_, help, /*quotes=*/false);
  text_ += "\n# TYPE ";
  text_ += name;
  text_ += ' ';
  text_ += type_name(type);
  text_ += '\n';
}

void Exposition::open(std::string_view suffix) {
  text_ += name_;
  text_ += suffix;
}

void Exposition::label(std::string_view name, std::string_view label, char separator) {
  text_ += separator;
  text_ += name;
  text_ += "=\"";
  append_escaped(text_, repaired_utf8(label), /*quotes=*/true);
  text_ += '"';
}

void Exposition::close(bool labelled, double value) {
  if (labelled) text_ += '}';
  text_ += ' ';
  text_ += metric_number(value);
  text_ += '\n';
}

void Exposition::sample(const Labels& labels, double value, std::string_view suffix) {
  open(suffix);
  char separator = '{';
  for (const auto& [name, each] : labels) label(name, each, std::exchange(separator, ','));
  close(separator == ',', value);
}

void Exposition::sample(const Labels& labels,
                        std::string_view name,
                        std::string_view last,
                        double value,
                        std::string_view suffix) {
  open(suffix);
  char separator = '{';
  for (const auto& [other, each] : labels) label(other, each, std::exchange(separator, ','));
  label(name, last, separator);
  close(/*labelled=*/true, value);
}

void Exposition::gauge(std::string_view name,
                       std::string_view help,
                       const Labels& labels,
                       double value) {
  begin(name, MetricType::kGauge, help);
  sample(labels, value);
}

void Exposition::counter(std::string_view name,
                         std::string_view help,
                         const Labels& labels,
                         double value) {
  begin(name, MetricType::kCounter, help);
  sample(labels, value);
}

}  // namespace fathom::observe
