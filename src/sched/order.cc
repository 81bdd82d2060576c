#include "sched/order.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <tuple>

#include "base/random.h"

namespace fathom::sched {

namespace {

// Lower ones are served first.
std::int64_t priority_key(const OrderOptions& options, const Claim& claim) {
  if (!options.by_priority) return 0;
  return options.low_priorities_first ? std::int64_t{claim.priority}
                                      : -std::int64_t{claim.priority};
}

std::uint64_t policy_key(const OrderOptions& options, const Claim& claim) {
  switch (options.policy) {
    case Policy::kLongestOutput:
      return ~static_cast<std::uint64_t>(claim.max_new_tokens);
    case Policy::kLongestPrefix:
      return ~static_cast<std::uint64_t>(claim.cached_tokens);
    case Policy::kRandom:
      return random_u64(options.seed, static_cast<std::uint32_t>(claim.id >> 32U),
                        static_cast<std::uint32_t>(claim.id), RandomPurpose::kOrder);
    default:
      return 0;
  }
}

}  // namespace

void put_in_order(const OrderOptions& options,
                  std::size_t max_waiting,
                  std::vector<Claim>& claims) {
  if (options.policy == Policy::kFcfs && !options.by_priority) {
    std::size_t waiting = 0;
    std::erase_if(claims,
                  [&](const Claim& claim) { return !claim.running && ++waiting > max_waiting; });
    return;
  }
  const auto first_waiting = std::stable_partition(
      claims.begin(), claims.end(), [](const Claim& claim) { return claim.running; });
  std::sort(claims.begin(), first_waiting,
            [](const Claim& a, const Claim& b) { return a.admission < b.admission; });
  const auto kept = static_cast<std::ptrdiff_t>(
      std::min(max_waiting, static_cast<std::size_t>(std::distance(first_waiting, claims.end()))));
  const auto key = [&options](const Claim& claim) {
    return std::make_tuple(priority_key(options, claim), policy_key(options, claim), claim.id);
  };
  std::partial_sort(first_waiting, first_waiting + kept, claims.end(),
                    [&key](const Claim& a, const Claim& b) { return key(a) < key(b); });
  claims.erase(first_waiting + kept, claims.end());
}

}  // namespace fathom::sched
