// Vectors of eight float32 and the canonical sums, for every instruction set that Highway targets.
// Included inside HWY_NAMESPACE files only, once per target.
//
// Canonical sum (docs/arithmetic.md 1): element k belongs to lane k mod 16. Lanes live in two
// vectors, the even lanes 0, 2, … 14 in one and the odd lanes in the other, because one shift and
// one mask split sixteen bf16 or FP8 numbers that way. The tree adds lane pairs (2i, 2i+1), then
// i and i+4, i and i+2, 0 and 1.

#if defined(FATHOM_BACKEND_CPU_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_BACKEND_CPU_LANES_INL_H_
#undef FATHOM_BACKEND_CPU_LANES_INL_H_
#else
#define FATHOM_BACKEND_CPU_LANES_INL_H_
#endif

#include <cstdint>

#include <hwy/highway.h>

#include "tensor/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

inline constexpr int kLanes = 16;

using D32 = hn::CappedTag<float, 8>;
using V32 = hn::Vec<D32>;
inline constexpr std::int64_t kPartLanes = HWY_MIN(8, HWY_MAX_BYTES / 4);
inline constexpr int kParts = 8 / kPartLanes;

// Eight float32: one register on AVX2 and wider, two on 128-bit targets.
struct F32x8 {
  V32 part[kParts];  // NOLINT(*-avoid-c-arrays): vector types have no std::array
};

#define FATHOM_FOR_PARTS(expression)          \
  F32x8 result;                               \
  for (std::int64_t p = 0; p < kParts; ++p) { \
    result.part[p] = (expression);            \
  }                                           \
  return result

HWY_INLINE F32x8 zero8() { FATHOM_FOR_PARTS(hn::Zero(D32())); }
HWY_INLINE F32x8 set8(float value) { FATHOM_FOR_PARTS(hn::Set(D32(), value)); }
HWY_INLINE F32x8 load8(const float* from) {
  FATHOM_FOR_PARTS(hn::LoadU(D32(), from + p * kPartLanes));
}
HWY_INLINE F32x8 add8(F32x8 a, F32x8 b) { FATHOM_FOR_PARTS(hn::Add(a.part[p], b.part[p])); }
HWY_INLINE F32x8 sub8(F32x8 a, F32x8 b) { FATHOM_FOR_PARTS(hn::Sub(a.part[p], b.part[p])); }
HWY_INLINE F32x8 mul8(F32x8 a, F32x8 b) { FATHOM_FOR_PARTS(hn::Mul(a.part[p], b.part[p])); }
HWY_INLINE F32x8 div8(F32x8 a, F32x8 b) { FATHOM_FOR_PARTS(hn::Div(a.part[p], b.part[p])); }
HWY_INLINE F32x8 max8(F32x8 a, F32x8 b) { FATHOM_FOR_PARTS(hn::Max(a.part[p], b.part[p])); }
HWY_INLINE F32x8 min8(F32x8 a, F32x8 b) { FATHOM_FOR_PARTS(hn::Min(a.part[p], b.part[p])); }
// a * b + c, rounded once.
HWY_INLINE F32x8 fma8(F32x8 a, F32x8 b, F32x8 c) {
  FATHOM_FOR_PARTS(hn::MulAdd(a.part[p], b.part[p], c.part[p]));
}
HWY_INLINE void store8(F32x8 value, float* to) {
  for (std::int64_t p = 0; p < kParts; ++p) hn::StoreU(value.part[p], D32(), to + p * kPartLanes);
}

// Even and odd elements of sixteen.
struct Pair {
  F32x8 even;
  F32x8 odd;
};

HWY_INLINE Pair split16(const V32* natural) {
  Pair pair;
  for (std::int64_t p = 0; p < kParts; ++p) {
    pair.even.part[p] = hn::ConcatEven(D32(), natural[2 * p + 1], natural[2 * p]);
    pair.odd.part[p] = hn::ConcatOdd(D32(), natural[2 * p + 1], natural[2 * p]);
  }
  return pair;
}

// Sixteen numbers from memory, in order, as even and odd ones.
HWY_INLINE Pair load16(const float* from) {
  V32 natural[2 * kParts];  // NOLINT(*-avoid-c-arrays)
  for (int i = 0; i < 2 * kParts; ++i) natural[i] = hn::LoadU(D32(), from + i * kPartLanes);
  return split16(natural);
}

HWY_INLINE Pair load16(const Float16* from) {
  const hn::Rebind<hwy::float16_t, D32> d16;
  V32 natural[2 * kParts];  // NOLINT(*-avoid-c-arrays)
  for (int i = 0; i < 2 * kParts; ++i) {
    const auto* source = reinterpret_cast<const hwy::float16_t*>(from) + i * kPartLanes;
    natural[i] = hn::PromoteTo(D32(), hn::LoadU(d16, source));
  }
  return split16(natural);
}

HWY_INLINE Pair load16(const BFloat16* from) {
  const hn::RebindToUnsigned<D32> d32;
  const hn::Repartition<std::uint16_t, D32> d16;
  Pair pair;
  for (std::int64_t p = 0; p < kParts; ++p) {
    const auto* source = reinterpret_cast<const std::uint16_t*>(from) + 2 * kPartLanes * p;
    const auto both = hn::BitCast(d32, hn::LoadU(d16, source));
    pair.even.part[p] = hn::BitCast(D32(), hn::ShiftLeft<16>(both));
    pair.odd.part[p] = hn::BitCast(D32(), hn::And(both, hn::Set(d32, 0xFFFF0000U)));
  }
  return pair;
}

// The code's value bits go to where bf16 keeps exponent and mantissa, the sign on top; the exact
// factor 2^120 mends the bias, subnormals included. NaN codes give ±480.
HWY_INLINE Pair load16(const Float8E4M3* from) {
  const hn::RebindToUnsigned<D32> d32;
  const hn::Repartition<std::uint16_t, D32> d16;
  const hn::Rebind<std::uint8_t, decltype(d16)> d8;
  const auto bias = hn::Set(D32(), 0x1p120F);
  Pair pair;
  for (std::int64_t p = 0; p < kParts; ++p) {
    const auto* source = reinterpret_cast<const std::uint8_t*>(from) + 2 * kPartLanes * p;
    const auto code = hn::PromoteTo(d16, hn::LoadU(d8, source));
    const auto value = hn::ShiftLeft<4>(hn::And(code, hn::Set(d16, std::uint16_t{0x7F})));
    const auto sign = hn::ShiftLeft<8>(hn::And(code, hn::Set(d16, std::uint16_t{0x80})));
    const auto both = hn::BitCast(d32, hn::Or(value, sign));
    const auto even = hn::BitCast(D32(), hn::ShiftLeft<16>(both));
    const auto odd = hn::BitCast(D32(), hn::And(both, hn::Set(d32, 0xFFFF0000U)));
    pair.even.part[p] = hn::Mul(even, bias);
    pair.odd.part[p] = hn::Mul(odd, bias);
  }
  return pair;
}

// The same with only the first `count` (< 16) numbers there; the rest are zero.
template <class T>
HWY_INLINE Pair load16(const T* from, std::int64_t count) {
  T padded[kLanes] = {};  // NOLINT(*-avoid-c-arrays)
  for (std::int64_t i = 0; i < count; ++i) padded[i] = from[i];
  return load16(padded);
}

// The tree over sixteen lanes.
HWY_INLINE float reduce(F32x8 even, F32x8 odd) {
  const F32x8 pairs = add8(even, odd);
#if HWY_MAX_BYTES >= 32
  const hn::CappedTag<float, 4> d4;
  const auto u = hn::Add(hn::LowerHalf(d4, pairs.part[0]), hn::UpperHalf(d4, pairs.part[0]));
#else
  const auto u = hn::Add(pairs.part[0], pairs.part[1]);
#endif
  const auto v = hn::Add(u, hn::Shuffle1032(u));
  return hn::GetLane(hn::Add(v, hn::Shuffle2301(v)));
}

// The same over sixteen lanes in natural order, lanes 0..7 and 8..15.
HWY_INLINE float reduce_natural(F32x8 low, F32x8 high) {
  V32 natural[2 * kParts];  // NOLINT(*-avoid-c-arrays)
  for (std::int64_t p = 0; p < kParts; ++p) {
    natural[p] = low.part[p];
    natural[kParts + p] = high.part[p];
  }
  const Pair pair = split16(natural);
  return reduce(pair.even, pair.odd);
}

// Packs `width` numbers as float32: every sixteen as their even, then their odd ones, the last
// sixteen filled up with zeros.
template <class T>
HWY_INLINE void pack(const T* from, std::int64_t width, float* to) {
  std::int64_t k = 0;
  for (; k + kLanes <= width; k += kLanes) {
    const Pair pair = load16(from + k);
    store8(pair.even, to + k);
    store8(pair.odd, to + k + 8);
  }
  if (k < width) {
    const Pair pair = load16(from + k, width - k);
    store8(pair.even, to + k);
    store8(pair.odd, to + k + 8);
  }
}

// Register tile of the kernels with many rows: rows × columns sums of eight lanes.
inline constexpr int kTileRows = 3;
inline constexpr int kTileColumns = 4;

// Adds the products of M packed rows `x` and kTileColumns packed rows `w` over `count` elements,
// one half (the even or the odd lanes: `x` and `w` point at it) at a time.
template <int M>
HWY_INLINE void tile_span(const float* x,
                          std::int64_t x_stride,
                          const float* w,
                          std::int64_t w_stride,
                          std::int64_t count,
                          F32x8 (&sums)[M][kTileColumns]) {  // NOLINT(*-avoid-c-arrays)
  for (std::int64_t k = 0; k < count; k += kLanes) {
    F32x8 xs[M];  // NOLINT(*-avoid-c-arrays)
    for (int m = 0; m < M; ++m) xs[m] = load8(x + m * x_stride + k);
    for (int n = 0; n < kTileColumns; ++n) {
      const F32x8 ws = load8(w + n * w_stride + k);
      for (int m = 0; m < M; ++m) sums[m][n] = fma8(xs[m], ws, sums[m][n]);
    }
  }
}

// dots[m * dots_stride + n] = x[m]·w[n] for M packed rows and kTileColumns packed rows.
template <int M>
HWY_INLINE void dot_tile(const float* x,
                         std::int64_t x_stride,
                         const float* w,
                         std::int64_t w_stride,
                         std::int64_t width,
                         float* dots,
                         std::int64_t dots_stride) {
  F32x8 sums[2][M][kTileColumns];  // NOLINT(*-avoid-c-arrays)
  for (std::int64_t half = 0; half < 2; ++half) {
    for (auto& of_row : sums[half]) {
      for (F32x8& sum : of_row) sum = zero8();
    }
    tile_span<M>(x + half * 8, x_stride, w + half * 8, w_stride, width, sums[half]);
  }
  for (int m = 0; m < M; ++m) {
    for (int n = 0; n < kTileColumns; ++n) {
      dots[m * dots_stride + n] = reduce(sums[0][m][n], sums[1][m][n]);
    }
  }
}

// The same for `rows` rows x and `columns` rows w, a multiple of kTileColumns.
HWY_INLINE void dot_rows(const float* x,
                         std::int64_t rows,
                         const float* w,
                         std::int64_t columns,
                         std::int64_t width,
                         float* dots,
                         std::int64_t dots_stride) {
  for (std::int64_t n = 0; n < columns; n += kTileColumns) {
    std::int64_t m = 0;
    for (; m + kTileRows <= rows; m += kTileRows) {
      dot_tile<kTileRows>(x + m * width, width, w + n * width, width, width,
                          dots + m * dots_stride + n, dots_stride);
    }
    for (; m < rows; ++m) {
      dot_tile<1>(x + m * width, width, w + n * width, width, width, dots + m * dots_stride + n,
                  dots_stride);
    }
  }
}

// exp_f32 (base/math.h) of eight numbers: the same steps, the same bits.
HWY_INLINE F32x8 exp8(F32x8 x) {
  const D32 d;
  const hn::RebindToSigned<D32> di;
  F32x8 result;
  for (std::int64_t p = 0; p < kParts; ++p) {
    const auto magic = hn::Set(d, 12582912.0F);
    const auto clamped = hn::Min(hn::Max(x.part[p], hn::Set(d, -104.0F)), hn::Set(d, 89.0F));
    const auto n = hn::Sub(hn::MulAdd(clamped, hn::Set(d, 1.44269504F), magic), magic);
    auto r = hn::MulAdd(n, hn::Set(d, -0.693145752F), clamped);
    r = hn::MulAdd(n, hn::Set(d, -1.42860677e-6F), r);
    auto poly = hn::Set(d, 1.0F / 5040.0F);
    poly = hn::MulAdd(poly, r, hn::Set(d, 1.0F / 720.0F));
    poly = hn::MulAdd(poly, r, hn::Set(d, 1.0F / 120.0F));
    poly = hn::MulAdd(poly, r, hn::Set(d, 1.0F / 24.0F));
    poly = hn::MulAdd(poly, r, hn::Set(d, 1.0F / 6.0F));
    poly = hn::MulAdd(poly, r, hn::Set(d, 0.5F));
    poly = hn::MulAdd(poly, r, hn::Set(d, 1.0F));
    poly = hn::MulAdd(poly, r, hn::Set(d, 1.0F));
    const auto exponent = hn::ConvertTo(di, n);
    const auto half = hn::ShiftRight<1>(exponent);
    const auto bias = hn::Set(di, 127);
    const auto scale_a = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(half, bias)));
    const auto scale_b = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(hn::Sub(exponent, half), bias)));
    const auto value = hn::Mul(hn::Mul(poly, scale_a), scale_b);
    result.part[p] = hn::IfThenElse(hn::IsNaN(x.part[p]), x.part[p], value);
  }
  return result;
}

// Eight numbers rounded to bf16 (nearest even). NaN stays NaN.
HWY_INLINE void store8_bf16(F32x8 value, BFloat16* to) {
  alignas(32) float wide[8];  // NOLINT(*-avoid-c-arrays)
  store8(value, wide);
  for (int i = 0; i < 8; ++i) to[i] = to_bfloat16(wide[i]);
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // FATHOM_BACKEND_CPU_LANES_INL_H_
