#include "observe/exposition.h"

#include <array>
#include <charconv>
#include <cmath>

#include "base/check.h"

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

// What the format wants escaped: in HELP texts all but the quotes.
void append_escaped(std::string& out, std::string_view text, bool quotes) {
  for (const char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quotes) {
      out += "\\\"";
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

Labels with_label(const Labels& labels, std::string_view name, std::string_view value) {
  Labels more = labels;
  more.emplace_back(name, value);
  return more;
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

void Exposition::sample(const Labels& labels, double value, std::string_view suffix) {
  text_ += name_;
  text_ += suffix;
  char separator = '{';
  for (const auto& [name, label] : labels) {
    text_ += separator;
    separator = ',';
    text_ += name;
    text_ += "=\"";
    append_escaped(text_, label, /*quotes=*/true);
    text_ += '"';
  }
  if (separator == ',') text_ += '}';
  text_ += ' ';
  text_ += metric_number(value);
  text_ += '\n';
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
