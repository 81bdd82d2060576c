#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "wire/messages.h"

// In which order requests are served: what plan_step() takes for their age.
namespace fathom::sched {

// Who of those that wait is next.
enum class Policy : std::uint8_t {
  kFcfs,           // the oldest
  kLongestOutput,  // whose answer may be the longest
  kLongestPrefix,  // of whose prompt the prefix cache has most
  kRandom,         // each with a place that the seed and its id decide
};

struct OrderOptions {
  Policy policy = Policy::kFcfs;
  bool by_priority = false;           // before the policy decides
  bool low_priorities_first = false;  // else the high ones
  std::uint64_t seed = 0;             // of kRandom
};

// One request as its place is decided.
struct Claim {
  wire::RequestId id = 0;
  bool running = false;
  std::int64_t admission = 0;  // ascending in the order of admission, while it runs
  std::int32_t priority = 0;
  std::int32_t max_new_tokens = 0;
  std::int32_t cached_tokens = 0;  // of its prompt, while it waits; read by kLongestPrefix alone
};

// Puts the claims into the order in which they are served, and drops those that wait behind
// `max_waiting` others. By age alone (kFcfs, no priorities) a request that was retracted, or whose
// constraint took long, has its old place again. Otherwise those that run come first, in the order
// of their admission, so the first of them is never retracted and ends; equals keep their age. One
// that waits may then be overtaken for ever.
//
// Takes claims in ascending ids.
void put_in_order(const OrderOptions& options, std::size_t max_waiting, std::vector<Claim>& claims);

}  // namespace fathom::sched
