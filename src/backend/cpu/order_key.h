#pragma once

#include <bit>
#include <cstdint>

namespace fathom::cpu {

// An unsigned number that orders as `value` does: -0 equals +0, NaN is below everything. Without a
// branch on the sign, which no processor foresees.
inline std::uint32_t order_key(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value + 0.0F);  // -0 becomes +0
  const std::uint32_t all_if_negative = 0U - (bits >> 31U);
  const std::uint32_t key = bits ^ (all_if_negative | 0x80000000U);
  return value == value ? key : 0;
}

}  // namespace fathom::cpu
