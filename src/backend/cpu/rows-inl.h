// Rows of numbers between their storage types and float32, for kernels that compute on float32
// buffers. Included inside HWY_NAMESPACE files only, once per target, after lanes-inl.h.

#if defined(FATHOM_BACKEND_CPU_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_BACKEND_CPU_ROWS_INL_H_
#undef FATHOM_BACKEND_CPU_ROWS_INL_H_
#else
#define FATHOM_BACKEND_CPU_ROWS_INL_H_
#endif

#include <cstdint>
#include <cstring>

#include <hwy/highway.h>

#include "backend/cpu/lanes-inl.h"
#include "backend/cpu/row_buffer.h"
#include "tensor/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {

// Eight stored numbers in order.
HWY_INLINE F32x8 load8(const BFloat16* from) {
  const hn::RebindToUnsigned<D32> d32;
  const hn::Rebind<std::uint16_t, D32> d16;
  const auto* source = reinterpret_cast<const std::uint16_t*>(from);
  FATHOM_FOR_PARTS(hn::BitCast(
      D32(), hn::ShiftLeft<16>(hn::PromoteTo(d32, hn::LoadU(d16, source + p * kPartLanes)))));
}

HWY_INLINE F32x8 load8(const Float16* from) {
  const hn::Rebind<hwy::float16_t, D32> d16;
  const auto* source = reinterpret_cast<const hwy::float16_t*>(from);
  FATHOM_FOR_PARTS(hn::PromoteTo(D32(), hn::LoadU(d16, source + p * kPartLanes)));
}

// The bits of to_bfloat16 (tensor/dtype.h), one number in the low half of each element.
HWY_INLINE auto bf16_bits(V32 value) {
  const hn::RebindToUnsigned<D32> d32;
  const auto bits = hn::BitCast(d32, value);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(d32, 1U));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(d32, 0x7FFFU))));
  return hn::IfThenElse(hn::RebindMask(d32, hn::IsNaN(value)), hn::Set(d32, 0x7FC0U), rounded);
}

HWY_INLINE void store8(F32x8 value, BFloat16* to) {
  const hn::Rebind<std::uint16_t, D32> d16;
  auto* target = reinterpret_cast<std::uint16_t*>(to);
  for (std::int64_t p = 0; p < kParts; ++p) {
    hn::StoreU(hn::TruncateTo(d16, bf16_bits(value.part[p])), d16, target + p * kPartLanes);
  }
}

// Eight numbers rounded to bf16 and back.
HWY_INLINE F32x8 round8_bf16(F32x8 value) {
  FATHOM_FOR_PARTS(hn::BitCast(D32(), hn::ShiftLeft<16>(bf16_bits(value.part[p]))));
}

template <class T>
HWY_INLINE void widen_elements(const T* from, std::int64_t n, float* to) {
  std::int64_t i = 0;
  for (; i + 8 <= n; i += 8) store8(load8(from + i), to + i);
  for (; i < n; ++i) to[i] = to_float(from[i]);
}

// Writes n numbers of `dtype` as float32 and zeros up to the next multiple of 16.
HWY_INLINE void widen(DType dtype, const void* from, std::int64_t n, float* to) {
  switch (dtype) {
    case DType::kBF16:
      widen_elements(static_cast<const BFloat16*>(from), n, to);
      break;
    case DType::kF16:
      widen_elements(static_cast<const Float16*>(from), n, to);
      break;
    default:
      std::memcpy(to, from, static_cast<std::size_t>(n) * sizeof(float));
      break;
  }
  for (std::int64_t i = n; i < padded(n); ++i) to[i] = 0;
}

// Writes n numbers as `dtype`, f32 or bf16; reads nothing past them.
HWY_INLINE void narrow(const float* from, std::int64_t n, DType dtype, void* to) {
  if (dtype == DType::kF32) {
    std::memcpy(to, from, static_cast<std::size_t>(n) * sizeof(float));
    return;
  }
  auto* target = static_cast<BFloat16*>(to);
  std::int64_t i = 0;
  for (; i + 8 <= n; i += 8) store8(load8(from + i), target + i);
  for (; i < n; ++i) target[i] = to_bfloat16(from[i]);
}

// Numbers that a kernel without per-worker scratch widens at a time, on its stack.
inline constexpr std::int64_t kRowBlock = 512;

// The canonical sum over n numbers, a multiple of 16, of term(eight numbers, sum so far).
template <class Term>
HWY_INLINE float lane_sum(const float* x, std::int64_t n, const Term& term) {
  F32x8 low = zero8();
  F32x8 high = zero8();
  for (std::int64_t i = 0; i < n; i += kLanes) {
    low = term(load8(x + i), low);
    high = term(load8(x + i + 8), high);
  }
  return reduce_natural(low, high);
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // FATHOM_BACKEND_CPU_ROWS_INL_H_
