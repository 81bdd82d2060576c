#pragma once

#include <cstdint>

namespace fathom::cpu {

// List entries of one block of attention's canonical order (docs/arithmetic.md 5).
inline constexpr std::int64_t kListBlock = 64;

}  // namespace fathom::cpu
