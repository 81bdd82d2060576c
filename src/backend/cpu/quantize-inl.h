// The number formats of caches and FP8 inputs (docs/arithmetic.md 4). Included inside
// HWY_NAMESPACE files only, once per target, after rows-inl.h.

#if defined(FATHOM_BACKEND_CPU_QUANTIZE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_BACKEND_CPU_QUANTIZE_INL_H_
#undef FATHOM_BACKEND_CPU_QUANTIZE_INL_H_
#else
#define FATHOM_BACKEND_CPU_QUANTIZE_INL_H_
#endif

#include <bit>
#include <cmath>
#include <cstdint>

#include <hwy/highway.h>

#include "backend/cpu/rows-inl.h"
#include "tensor/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {

// The codes of to_float8_e4m3 (tensor/dtype.h), one number in the low byte of each element.
//
// One addition rounds normals and subnormals alike: 2^20 times the power of two below |x| (2^-6
// for subnormals) has an ulp of one step of the format there, so the low bits of the sum count
// steps, 8 to 16 of them (0 to 8), rounded to nearest even.
HWY_INLINE auto e4m3_codes(V32 x) {
  const D32 d;
  const hn::RebindToUnsigned<D32> du;
  const auto bits = hn::BitCast(du, x);
  const auto sign = hn::And(hn::ShiftRight<24>(bits), hn::Set(du, 0x80U));
  const auto magnitude = hn::Min(hn::Abs(x), hn::Set(d, 448.0F));
  const auto exponent = hn::Max(hn::And(hn::BitCast(du, magnitude), hn::Set(du, 0x7F800000U)),
                                hn::Set(du, 121U << 23));
  const auto magic = hn::BitCast(d, hn::Add(exponent, hn::Set(du, 20U << 23)));
  const auto steps = hn::And(hn::BitCast(du, hn::Add(magnitude, magic)), hn::Set(du, 0x1FU));
  const auto base = hn::ShiftRight<20>(hn::Sub(exponent, hn::Set(du, 121U << 23)));
  const auto nan = hn::RebindMask(du, hn::IsNaN(x));
  return hn::Or(hn::IfThenElse(nan, hn::Set(du, 0x7FU), hn::Add(base, steps)), sign);
}

HWY_INLINE void store8(F32x8 value, Float8E4M3* to) {
  const hn::Rebind<std::uint8_t, D32> d8;
  auto* target = reinterpret_cast<std::uint8_t*>(to);
  for (std::int64_t p = 0; p < kParts; ++p) {
    hn::StoreU(hn::TruncateTo(d8, e4m3_codes(value.part[p])), d8, target + p * kPartLanes);
  }
}

// The scale of a group whose largest magnitude is `largest`. The product with the rounded 1/448
// and the quotient differ in the last bit of some unrounded scales; the published kernels multiply.
HWY_INLINE float group_scale(float largest, bool ue8m0) {
  const float scale = (largest > 1e-4F ? largest : 1e-4F) * (1.0F / 448.0F);
  if (!ue8m0) return scale;
  const auto bits = std::bit_cast<std::uint32_t>(scale);
  const std::uint32_t up = (bits & 0x7FFFFFU) != 0 ? 0x800000U : 0U;
  return std::bit_cast<float>((bits & 0x7F800000U) + up);
}

HWY_INLINE float largest_magnitude(const float* x, std::int64_t n) {
  F32x8 largest = zero8();
  for (std::int64_t i = 0; i < padded(n); i += 8) {
    const F32x8 v = load8(x + i);
    for (std::int64_t p = 0; p < kParts; ++p) {
      largest.part[p] = hn::Max(hn::Abs(v.part[p]), largest.part[p]);
    }
  }
  float result = 0;
  for (std::int64_t p = 0; p < kParts; ++p) {
    result = HWY_MAX(result, hn::GetLane(hn::MaxOfLanes(D32(), largest.part[p])));
  }
  return result;
}

// Quantises one group, a padded float32 row, and returns its scale. A division by a power of two
// is a multiplication by its inverse, to the last bit.
HWY_INLINE float quantize_group(const float* x, std::int64_t n, bool ue8m0, Float8E4M3* values) {
  const float scale = group_scale(largest_magnitude(x, n), ue8m0);
  std::int64_t i = 0;
  if (ue8m0) {
    const F32x8 inverse = set8(1.0F / scale);
    for (; i + 8 <= n; i += 8) store8(mul8(load8(x + i), inverse), values + i);
  } else {
    const F32x8 divisor = set8(scale);
    for (; i + 8 <= n; i += 8) store8(div8(load8(x + i), divisor), values + i);
  }
  for (; i < n; ++i) values[i] = to_float8_e4m3(x[i] / scale);
  return scale;
}

// The second of two numbers 1 or 2 apart is subtracted.
alignas(16) inline constexpr float kNeighbourSigns[] = {1, -1, 1, -1};  // NOLINT(*-avoid-c-arrays)
alignas(16) inline constexpr float kPairSigns[] = {1, 1, -1, -1};       // NOLINT(*-avoid-c-arrays)

// Stages of the fast Walsh-Hadamard transform over neighbours 1, 2 and 4 apart.
HWY_INLINE void hadamard_inside_eight(float* x) {
  const hn::CappedTag<float, 4> d4;
  const auto sign1 = hn::Load(d4, kNeighbourSigns);
  const auto sign2 = hn::Load(d4, kPairSigns);
  auto low = hn::LoadU(d4, x);
  auto high = hn::LoadU(d4, x + 4);
  low = hn::MulAdd(low, sign1, hn::Shuffle2301(low));
  high = hn::MulAdd(high, sign1, hn::Shuffle2301(high));
  low = hn::MulAdd(low, sign2, hn::Shuffle1032(low));
  high = hn::MulAdd(high, sign2, hn::Shuffle1032(high));
  hn::StoreU(hn::Add(low, high), d4, x);
  hn::StoreU(hn::Sub(low, high), d4, x + 4);
}

// x = bf16(x · H / sqrt(d)) for the Hadamard matrix of Sylvester's order; d is a power of two.
// Stages run from neighbours to halves, each sum and difference rounded to float32.
HWY_INLINE void hadamard(float* x, std::int64_t d) {
  std::int64_t apart = 1;
  if (d >= 8) {
    for (std::int64_t i = 0; i < d; i += 8) hadamard_inside_eight(x + i);
    apart = 8;
  }
  for (; apart < d; apart *= 2) {
    for (std::int64_t i = 0; i < d; i += 2 * apart) {
      if (apart >= 8) {
        for (std::int64_t j = i; j < i + apart; j += 8) {
          const F32x8 a = load8(x + j);
          const F32x8 b = load8(x + j + apart);
          store8(add8(a, b), x + j);
          store8(sub8(a, b), x + j + apart);
        }
        continue;
      }
      for (std::int64_t j = i; j < i + apart; ++j) {
        const float a = x[j];
        const float b = x[j + apart];
        x[j] = a + b;
        x[j + apart] = a - b;
      }
    }
  }
  const F32x8 factor = set8(1.0F / std::sqrt(static_cast<float>(d)));
  for (std::int64_t i = 0; i < padded(d); i += 8) {
    store8(round8_bf16(mul8(load8(x + i), factor)), x + i);
  }
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // FATHOM_BACKEND_CPU_QUANTIZE_INL_H_
