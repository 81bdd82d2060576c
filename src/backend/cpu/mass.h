#pragma once

#include <bit>
#include <cstdint>

namespace fathom::cpu {

// Probabilities are added as integers, which makes every sum exact and its order irrelevant
// (docs/arithmetic.md 14): a mass is a weight in [0, 1] in units of 2^-40.
using Mass = std::uint64_t;

// A weight becomes its mass, to nearest even, when 2^52 is added to it in units: that pushes
// everything below one unit out of a float64, and the mantissa is the integer.
inline constexpr double kMassUnits = 0x1p40;
inline constexpr double kMassShift = 0x1p52;
inline constexpr Mass kMassBits = (Mass{1} << 52U) - 1;

// The vector form in sample.cc takes the same steps.
inline Mass mass_of(float weight) {
  return std::bit_cast<Mass>(static_cast<double>(weight) * kMassUnits + kMassShift) & kMassBits;
}

// Some tokens.
struct TokenMass {
  std::int64_t count = 0;
  Mass mass = 0;
};

// Blocks of a row whose mass and largest logit are kept for quick searches.
inline constexpr std::int64_t kBlockTokens = 256;

}  // namespace fathom::cpu
