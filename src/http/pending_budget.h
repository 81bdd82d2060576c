#pragma once

#include <atomic>
#include <cstddef>

namespace fathom::http {

// How many bytes of all answers of a server wait for their peers, and how many are too many.
//
// Threads: any.
class PendingBudget {
 public:
  explicit PendingBudget(std::size_t max_bytes) : max_bytes_(max_bytes) {}

  // An answer's share goes from `had` to `has`.
  void change(std::size_t had, std::size_t has) {
    bytes_ += has - had;  // wraps where it shrinks, which sums to the same
    if (had == 0 && has != 0) ++holders_;
    if (had != 0 && has == 0) --holders_;
  }
  // Whether the answer with `own` bytes is to go: together there are too many, and it has more than
  // its part of them. What any reader has for a moment is never too much.
  bool too_much(std::size_t own) const {
    const std::size_t all = bytes_;
    if (all <= max_bytes_ || own <= kAlwaysGood) return false;
    const std::size_t holders = holders_;
    return holders == 0 || own >= all / holders;
  }
  std::size_t bytes() const { return bytes_; }

 private:
  static constexpr std::size_t kAlwaysGood = 64 << 10;

  const std::size_t max_bytes_;
  std::atomic<std::size_t> bytes_ = 0;
  std::atomic<std::size_t> holders_ = 0;  // answers with bytes
};

}  // namespace fathom::http
