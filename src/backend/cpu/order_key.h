#pragma once

#include <bit>
#include <cstdint>

namespace fathom::cpu {

// An unsigned number that orders as `value` does: -0 equals +0, NaN is below everything.
inline std::uint32_t order_key(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return 0;
  if (bits == 0x80000000U) return 0x80000000U;  // -0: the key of +0
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}

}  // namespace fathom::cpu
