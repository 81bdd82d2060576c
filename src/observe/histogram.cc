#include "observe/histogram.h"

#include <algorithm>
#include <limits>

namespace fathom::observe {

Histogram::Histogram(std::vector<double> bounds) : bounds_(std::move(bounds)) {
  std::sort(bounds_.begin(), bounds_.end());
  bounds_.erase(std::unique(bounds_.begin(), bounds_.end()), bounds_.end());
  // +Inf comes by itself.
  if (!bounds_.empty() && bounds_.back() == std::numeric_limits<double>::infinity()) {
    bounds_.pop_back();
  }
  counts_ = std::make_unique<std::atomic<std::uint64_t>[]>(bounds_.size() + 1);
}

void Histogram::observe(double value, std::uint64_t times) {
  if (!(value > 0)) value = 0;
  const auto at = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
  counts_[static_cast<std::size_t>(at)].fetch_add(times, std::memory_order_relaxed);
  sum_.fetch_add(value * static_cast<double>(times), std::memory_order_relaxed);
}

std::uint64_t Histogram::count() const {
  std::uint64_t all = 0;
  for (std::size_t i = 0; i <= bounds_.size(); ++i) {
    all += counts_[i].load(std::memory_order_relaxed);
  }
  return all;
}

void Histogram::write(Exposition& out, const Labels& labels) const {
  std::uint64_t below = 0;
  for (std::size_t i = 0; i < bounds_.size(); ++i) {
    below += counts_[i].load(std::memory_order_relaxed);
    out.sample(labels, "le", bound_text(bounds_[i]), static_cast<double>(below), "_bucket");
  }
  below += counts_[bounds_.size()].load(std::memory_order_relaxed);
  out.sample(labels, "le", "+Inf", static_cast<double>(below), "_bucket");
  out.sample(labels, sum(), "_sum");
  out.sample(labels, static_cast<double>(below), "_count");
}

}  // namespace fathom::observe
