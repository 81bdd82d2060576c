// Rows of logits: the largest, and exponentials relative to it. Included inside HWY_NAMESPACE files
// only, once per target, after lanes-inl.h.

#if defined(FATHOM_BACKEND_CPU_LOGITS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_BACKEND_CPU_LOGITS_INL_H_
#undef FATHOM_BACKEND_CPU_LOGITS_INL_H_
#else
#define FATHOM_BACKEND_CPU_LOGITS_INL_H_
#endif

#include <cstdint>
#include <limits>

#include <hwy/highway.h>

#include "backend/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {

inline constexpr float kLowest = -std::numeric_limits<float>::infinity();

// The largest number of a row, NaN left out; -infinity when there is none.
HWY_INLINE float largest_of(const float* x, std::int64_t n) {
  const D32 d;
  const V32 lowest = hn::Set(d, kLowest);
  V32 best = lowest;
  std::int64_t i = 0;
  for (; i + kPartLanes <= n; i += kPartLanes) {
    const V32 v = hn::LoadU(d, x + i);
    best = hn::Max(hn::IfThenElse(hn::IsNaN(v), lowest, v), best);
  }
  float result = hn::GetLane(hn::MaxOfLanes(d, best));
  for (; i < n; ++i) {
    if (x[i] > result) result = x[i];
  }
  return result;
}

// The first i with x[i] == value, or 0 when there is none.
HWY_INLINE std::int64_t first_equal(const float* x, std::int64_t n, float value) {
  const D32 d;
  const V32 wanted = hn::Set(d, value);
  std::int64_t i = 0;
  for (; i + kPartLanes <= n; i += kPartLanes) {
    if (!hn::AllFalse(d, hn::Eq(hn::LoadU(d, x + i), wanted))) break;
  }
  for (; i < n; ++i) {
    if (x[i] == value) return i;
  }
  return 0;
}

// How far logits are below the largest, in units of the temperature: (x - top) / temperature, two
// roundings. A division by 1 changes nothing and is left out.
struct Scale {
  F32x8 top;
  F32x8 temperature;
};

template <bool kDivide>
HWY_INLINE F32x8 weight8(F32x8 x, const Scale& scale) {
  const F32x8 distance = sub8(x, scale.top);
  if constexpr (kDivide) return exp8(div8(distance, scale.temperature));
  return exp8(distance);
}

// Copies `count` (< 16) logits and fills up with those of weight 0.
HWY_INLINE void copy_tail(const float* x, std::int64_t count, float* tail) {
  for (std::int64_t j = 0; j < kLanes; ++j) {
    tail[j] = kLowest;
    if (j < count) tail[j] = x[j];
  }
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // FATHOM_BACKEND_CPU_LOGITS_INL_H_
