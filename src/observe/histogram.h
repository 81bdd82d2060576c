#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "observe/exposition.h"

namespace fathom::observe {

// A cumulative histogram with fixed bounds.
//
// Threads: any; no locks. What is written while others observe() may lack their latest values, and
// a count may be a value ahead of the sum, as between any two scrapes.
class Histogram {
 public:
  // Upper bounds, which need not be sorted and may repeat; +Inf is implied.
  explicit Histogram(std::vector<double> bounds);

  // Counts `value` as often as `times` says; the sum grows by value * times. What is below 0 or no
  // number counts as 0, so that a sum never falls.
  void observe(double value, std::uint64_t times = 1);

  // The metric's samples, behind Exposition::begin(): _bucket for each bound, _sum, _count.
  void write(Exposition& out, const Labels& labels) const;

  const std::vector<double>& bounds() const { return bounds_; }
  std::uint64_t count() const;
  double sum() const { return sum_.load(std::memory_order_relaxed); }

 private:
  std::vector<double> bounds_;                            // ascending, each once
  std::unique_ptr<std::atomic<std::uint64_t>[]> counts_;  // of each bound alone, then of +Inf
  std::atomic<double> sum_ = 0;
};

}  // namespace fathom::observe
