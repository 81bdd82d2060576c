#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "wire/messages.h"

namespace fathom::test_support {

using Bits = std::vector<std::uint32_t>;

// Ids and the bits of log-probabilities, for answers that must be equal.
inline Bits bits_of(const std::vector<wire::PositionLogprobs>& positions) {
  Bits bits;
  for (const wire::PositionLogprobs& position : positions) {
    bits.push_back(static_cast<std::uint32_t>(position.id));
    bits.push_back(std::bit_cast<std::uint32_t>(position.logprob));
    for (const auto* list : {&position.top, &position.asked}) {
      bits.push_back(static_cast<std::uint32_t>(list->size()));
      for (const wire::TokenLogprob& each : *list) {
        bits.push_back(static_cast<std::uint32_t>(each.id));
        bits.push_back(std::bit_cast<std::uint32_t>(each.logprob));
      }
    }
  }
  return bits;
}

// For an answer that was cut short.
template <class T>
bool begins_with(const std::vector<T>& whole, const std::vector<T>& part) {
  return part.size() <= whole.size() && std::equal(part.begin(), part.end(), whole.begin());
}

}  // namespace fathom::test_support
