#include "base/random.h"

#include "base/check.h"

namespace fathom {

namespace {

constexpr int kRounds = 10;
constexpr std::array<std::uint32_t, 2> kMultiplier = {0xD2511F53U, 0xCD9E8D57U};
constexpr std::array<std::uint32_t, 2> kKeyStep = {0x9E3779B9U, 0xBB67AE85U};

constexpr std::uint32_t low_word(std::uint64_t x) { return static_cast<std::uint32_t>(x); }
constexpr std::uint32_t high_word(std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32U); }

}  // namespace

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < kRounds; ++round) {
    const std::uint64_t even = std::uint64_t{kMultiplier[0]} * counter[0];
    const std::uint64_t odd = std::uint64_t{kMultiplier[1]} * counter[2];
    counter = {high_word(odd) ^ counter[1] ^ key[0], low_word(odd),
               high_word(even) ^ counter[3] ^ key[1], low_word(even)};
    key[0] += kKeyStep[0];
    key[1] += kKeyStep[1];
  }
  return counter;
}

std::uint64_t random_u64(std::uint64_t seed,
                         std::uint32_t sample,
                         std::uint32_t position,
                         RandomPurpose purpose) {
  const auto words = philox4x32({position, sample, static_cast<std::uint32_t>(purpose), 0},
                                {low_word(seed), high_word(seed)});
  return std::uint64_t{words[1]} << 32U | words[0];
}

float unit_f32(std::uint64_t random) {
  return static_cast<float>(random >> 40U) * 0x1p-24F;  // both steps are exact
}

std::uint64_t below(std::uint64_t random, std::uint64_t bound) {
  FATHOM_CHECK(bound > 0);
  // The high 64 of the product's 128 bits, from 32-bit halves.
  const std::uint64_t low = (random & 0xFFFFFFFFU) * (bound & 0xFFFFFFFFU);
  const std::uint64_t middle = (random >> 32U) * (bound & 0xFFFFFFFFU) + (low >> 32U);
  const std::uint64_t other = (random & 0xFFFFFFFFU) * (bound >> 32U) + (middle & 0xFFFFFFFFU);
  return (random >> 32U) * (bound >> 32U) + (middle >> 32U) + (other >> 32U);
}

}  // namespace fathom
