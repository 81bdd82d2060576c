#include "observe/buckets.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

namespace fathom::observe {

namespace {

constexpr double kMostCount = 512;

void add_range(std::vector<double>& bounds, int first, int last, int step) {
  for (int bound = first; bound <= last; bound += step) bounds.push_back(bound);
}

// first · factor^i for i below `count`.
std::vector<double> exponential(double first, double factor, int count) {
  std::vector<double> bounds;
  bounds.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) bounds.push_back(first * std::pow(factor, i));
  return bounds;
}

std::vector<double> sorted(std::vector<double> bounds) {
  std::sort(bounds.begin(), bounds.end());
  bounds.erase(std::unique(bounds.begin(), bounds.end()), bounds.end());
  return bounds;
}

std::optional<double> number_of(const std::string& text) {
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stopped != end || !std::isfinite(value)) return std::nullopt;
  return value;
}

Result<std::vector<double>> two_sided(const std::vector<double>& numbers) {
  if (numbers.size() != 3) return invalid_argument("tse takes three numbers: MIDDLE BASE COUNT");
  const double middle = numbers[0];
  const double base = numbers[1];
  const double count = numbers[2];
  if (base <= 1) return invalid_argument("tse: expected a base above 1");
  if (middle <= 0) return invalid_argument("tse: expected a middle above 0");
  if (count <= 0 || count > kMostCount) {
    return invalid_argument("tse: expected a count above 0 and at most 512");
  }
  std::vector<double> bounds = {middle};
  double distance = 1;
  for (int i = 0; i < static_cast<int>(std::ceil(count / 2)); ++i) {
    distance *= base;
    if (!std::isfinite(middle + distance)) break;
    bounds.push_back(std::max(0.0, middle - distance));
    bounds.push_back(middle + distance);
  }
  return sorted(std::move(bounds));
}

}  // namespace

std::vector<double> first_token_bounds() {
  return {0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 20, 40, 60, 80, 100, 200, 400};
}

std::vector<double> inter_token_bounds() {
  return {0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.06,
          0.08,  0.1,   0.2,   0.4,   0.6,  0.8,   1,    2,     4,    6,     8};
}

std::vector<double> request_latency_bounds() {
  std::vector<double> bounds = first_token_bounds();
  bounds.insert(bounds.end(), {600, 1200, 1800, 2400});
  return bounds;
}

std::vector<double> queue_time_bounds() {
  std::vector<double> bounds = {0, 0.1, 0.2, 0.5, 1, 2, 3, 4, 5, 10, 15};
  add_range(bounds, 20, 100, 10);
  add_range(bounds, 200, 1000, 100);
  bounds.insert(bounds.end(), {1200, 1400, 1600, 1800, 2000, 2500, 3000});
  return bounds;
}

std::vector<double> token_count_bounds() {
  std::vector<double> bounds = {100, 300, 500, 700, 1000, 1500};
  add_range(bounds, 2000, 10000, 1000);
  bounds.insert(bounds.end(), {12000, 15000, 20000, 22000, 25000, 30000, 35000, 40000, 66000, 99000,
                               132000, 300000, 600000, 900000, 1100000});
  return bounds;
}

std::vector<double> retraction_bounds() {
  std::vector<double> bounds;
  add_range(bounds, 0, 10, 1);
  bounds.insert(bounds.end(), {15, 20, 25, 30, 40, 50, 75, 100});
  return bounds;
}

std::vector<double> stage_bounds() { return exponential(0.001, 1.62, 30); }

std::vector<double> function_bounds() { return exponential(0.05, 1.5, 18); }

std::vector<double> compilation_bounds() {
  return {0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 90, 120, 240};
}

Result<std::vector<double>> token_bounds(const std::vector<std::string>& rule) {
  if (rule.empty()) return token_count_bounds();
  const std::string& name = rule.front();
  if (name == "default") {
    if (rule.size() == 1) return token_count_bounds();
    return invalid_argument("default takes no numbers");
  }
  if (name != "tse" && name != "custom") {
    return invalid_argument("was '" + name + "', expected default, tse or custom first");
  }
  std::vector<double> numbers;
  for (std::size_t i = 1; i < rule.size(); ++i) {
    const std::optional<double> number = number_of(rule[i]);
    if (!number) return invalid_argument("'" + rule[i] + "' is no number");
    numbers.push_back(*number);
  }
  if (name == "tse") return two_sided(numbers);
  if (numbers.empty()) return invalid_argument("custom takes at least one number");
  std::vector<double> bounds = sorted(numbers);
  if (bounds.front() < 0) return invalid_argument("custom: expected no negative numbers");
  if (bounds.size() != numbers.size()) {
    return invalid_argument("custom: expected no number twice");
  }
  return bounds;
}

Result<std::vector<double>> given_bounds(std::vector<double> bounds) {
  for (const double bound : bounds) {
    if (!std::isfinite(bound)) return invalid_argument("a bound is not finite");
  }
  return sorted(std::move(bounds));
}

}  // namespace fathom::observe
