#pragma once

#include <array>
#include <cstdint>

namespace fathom {

// Random numbers that are a function of what they are for: there is no state, so the same draw
// gives the same number in any order, on any thread and in any process (docs/arithmetic.md 14).

// What a number decides. Values are part of the definition and never change.
enum class RandomPurpose : std::uint32_t {
  kSample = 0,  // the token drawn at a position
  kOrder = 1,   // a waiting request's place; sample and position are the words of its id
  kAccept = 2,  // whether a draft for a position is accepted, where that is decided by itself
};

// Philox 4x32 with ten rounds: 128 well-mixed bits for every counter and key.
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key);

// Uniform over all 64-bit numbers. `sample` counts the samples of one prompt, `position` is
// absolute in the sequence.
std::uint64_t random_u64(std::uint64_t seed,
                         std::uint32_t sample,
                         std::uint32_t position,
                         RandomPurpose purpose);

// The same number as a fraction in [0, 1): its 24 highest bits times 2^-24.
float unit_f32(std::uint64_t random);

// The same number as one of the integers [0, bound): floor(random * bound / 2^64). Requires
// bound > 0.
std::uint64_t below(std::uint64_t random, std::uint64_t bound);

}  // namespace fathom
