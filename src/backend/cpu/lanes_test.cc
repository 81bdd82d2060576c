#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/kernel_testing.h"
#include "base/math.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/lanes_test.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/lanes-inl.h"
#include "backend/cpu/quantize-inl.h"
#include "backend/cpu/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {
namespace {

void exp_of_eight(const float* x, float* y) { store8(exp8(load8(x)), y); }
void bf16_of_eight(const float* x, BFloat16* y) { store8(load8(x), y); }
void e4m3_of_eight(const float* x, Float8E4M3* y) { store8(load8(x), y); }
void f16_to_eight(const Float16* x, float* y) { store8(load8(x), y); }
void bf16_to_eight(const BFloat16* x, float* y) { store8(load8(x), y); }

float tree_of_lanes(const float* lanes) {
  const Pair pair = load16(lanes);
  const float split = reduce(pair.even, pair.odd);
  const float natural = reduce_natural(load8(lanes), load8(lanes + 8));
  return bits_of(split) == bits_of(natural) ? natural : NAN;
}

void e4m3_to_sixteen(const Float8E4M3* x, float* even, float* odd) {
  const Pair pair = load16(x);
  store8(pair.even, even);
  store8(pair.odd, odd);
}

}  // namespace
}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(exp_of_eight);
HWY_EXPORT(bf16_of_eight);
HWY_EXPORT(e4m3_of_eight);
HWY_EXPORT(f16_to_eight);
HWY_EXPORT(bf16_to_eight);
HWY_EXPORT(tree_of_lanes);
HWY_EXPORT(e4m3_to_sixteen);

namespace {

// Every sign, exponent and leading mantissa bits, with the low half around what decides a rounding.
template <class Body>
void for_floats(const Body& body) {
  std::array<float, 8> x{};
  constexpr std::array<std::uint32_t, 8> kLow = {0,      1,      0x3FFF, 0x7FFF,
                                                 0x8000, 0x8001, 0xC000, 0xFFFF};
  for (std::uint32_t high = 0; high < 0x10000U; ++high) {
    for (std::size_t i = 0; i < 8; ++i) x[i] = std::bit_cast<float>(high << 16 | kLow[i]);
    body(x);
  }
}

TEST(Lanes, Exp8HasTheBitsOfExpF32) {
  std::int64_t wrong = 0;
  for_floats([&](const std::array<float, 8>& x) {
    std::array<float, 8> y{};
    HWY_DYNAMIC_DISPATCH(exp_of_eight)(x.data(), y.data());
    for (std::size_t i = 0; i < 8; ++i) wrong += bits_of(y[i]) != bits_of(exp_f32(x[i]));
  });
  EXPECT_EQ(wrong, 0);
}

TEST(Lanes, BFloat16StoresRoundLikeOneNumber) {
  std::int64_t wrong = 0;
  for_floats([&](const std::array<float, 8>& x) {
    std::array<BFloat16, 8> y{};
    HWY_DYNAMIC_DISPATCH(bf16_of_eight)(x.data(), y.data());
    for (std::size_t i = 0; i < 8; ++i) wrong += y[i] != to_bfloat16(x[i]);
  });
  EXPECT_EQ(wrong, 0);
}

TEST(Lanes, Float8StoresRoundLikeOneNumber) {
  std::int64_t wrong = 0;
  for_floats([&](const std::array<float, 8>& x) {
    std::array<Float8E4M3, 8> y{};
    HWY_DYNAMIC_DISPATCH(e4m3_of_eight)(x.data(), y.data());
    for (std::size_t i = 0; i < 8; ++i) wrong += y[i] != to_float8_e4m3(x[i]);
  });
  EXPECT_EQ(wrong, 0);
}

TEST(Lanes, LoadsDecodeEveryCode) {
  std::int64_t wrong = 0;
  for (std::uint32_t first = 0; first < 0x10000U; first += 8) {
    std::array<Float16, 8> half{};
    std::array<BFloat16, 8> brain{};
    for (std::uint32_t i = 0; i < 8; ++i) {
      half[i] = static_cast<Float16>(first + i);
      brain[i] = static_cast<BFloat16>(first + i);
    }
    std::array<float, 8> from_half{};
    std::array<float, 8> from_brain{};
    HWY_DYNAMIC_DISPATCH(f16_to_eight)(half.data(), from_half.data());
    HWY_DYNAMIC_DISPATCH(bf16_to_eight)(brain.data(), from_brain.data());
    for (std::size_t i = 0; i < 8; ++i) {
      const float want = to_float(half[i]);
      wrong +=
          std::isnan(want) ? !std::isnan(from_half[i]) : bits_of(from_half[i]) != bits_of(want);
      wrong += bits_of(from_brain[i]) != bits_of(to_float(brain[i]));
    }
  }
  EXPECT_EQ(wrong, 0);
}

TEST(Lanes, Float8LoadsDecodeEveryCodeIntoEvenAndOdd) {
  for (std::uint32_t first = 0; first < 0x100U; first += 16) {
    std::array<Float8E4M3, 16> codes{};
    for (std::uint32_t i = 0; i < 16; ++i) codes[i] = static_cast<Float8E4M3>(first + i);
    std::array<float, 8> even{};
    std::array<float, 8> odd{};
    HWY_DYNAMIC_DISPATCH(e4m3_to_sixteen)(codes.data(), even.data(), odd.data());
    for (std::size_t i = 0; i < 16; ++i) {
      const float want = to_float(codes[i]);
      const float got = i % 2 == 0 ? even[i / 2] : odd[i / 2];
      if (!std::isnan(want)) {
        EXPECT_EQ(bits_of(got), bits_of(want)) << first + i;
      }
    }
  }
}

TEST(Lanes, ReductionsAddAlongTheFixedTree) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (int round = 0; round < 1000; ++round) {
    std::array<float, 16> lane{};
    for (float& value : lane) value = normal(random) * std::exp2(8 * normal(random));
    EXPECT_EQ(bits_of(HWY_DYNAMIC_DISPATCH(tree_of_lanes)(lane.data())), bits_of(lane_tree(lane)));
  }
}

}  // namespace
}  // namespace fathom::cpu
#endif  // HWY_ONCE
