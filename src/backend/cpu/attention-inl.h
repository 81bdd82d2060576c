// What the two forms of attention share: records as rows, the softmax over a list and the value sum
// of one list block (docs/arithmetic.md 5). Included inside HWY_NAMESPACE files only, once per
// target, after lanes-inl.h and rows-inl.h.

#if defined(FATHOM_BACKEND_CPU_ATTENTION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_BACKEND_CPU_ATTENTION_INL_H_
#undef FATHOM_BACKEND_CPU_ATTENTION_INL_H_
#else
#define FATHOM_BACKEND_CPU_ATTENTION_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include <hwy/highway.h>

#include "backend/cpu/lanes-inl.h"
#include "backend/cpu/linear_kernels.h"
#include "backend/cpu/list_block.h"
#include "backend/cpu/paged.h"
#include "backend/cpu/row_buffer.h"
#include "backend/cpu/rows-inl.h"
#include "ops/attention.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {

// An FP8 record whose latent does not fill its last group of lanes: its numbers in order first,
// then packed in place. Nothing in such a record need be aligned.
HWY_INLINE void load_ragged_record(const config::KvLayout& layout,
                                   const std::byte* record,
                                   float* to) {
  const auto* codes = reinterpret_cast<const Float8E4M3*>(record);
  for (std::int64_t k = 0; k < layout.latent_dim; ++k) {
    float scale = 0;
    std::memcpy(&scale, record + layout.latent_scales_offset() + k / kScaleBlock * 4, sizeof scale);
    to[k] = to_float(codes[k]) * scale;
  }
  for (std::int64_t k = 0; k < layout.rope_dim; ++k) {
    BFloat16 number{};
    std::memcpy(&number, record + layout.latent_rope_offset() + 2 * k, sizeof number);
    to[layout.latent_dim + k] = to_float(number);
  }
  pack(to, std::int64_t{layout.latent_dim} + layout.rope_dim, to);
}

// One cached record as a packed row of c + r numbers.
HWY_INLINE void load_record(const ops::CacheView& cache, const Place& place, float* to) {
  const config::KvLayout& layout = cache.layout;
  const std::byte* record =
      row_bytes(cache.bytes, place.page) + place.slot * layout.latent_record_bytes();
  const std::int64_t width = std::int64_t{layout.latent_dim} + layout.rope_dim;
  if (layout.latent_dtype == DType::kF32) {
    return pack(reinterpret_cast<const float*>(record), width, to);
  }
  if (layout.latent_dtype == DType::kBF16) {
    return pack(reinterpret_cast<const BFloat16*>(record), width, to);
  }
  if (layout.latent_dim % kLanes != 0) return load_ragged_record(layout, record, to);
  const auto* codes = reinterpret_cast<const Float8E4M3*>(record);
  const auto* scales = reinterpret_cast<const float*>(record + layout.latent_scales_offset());
  for (std::int64_t k = 0; k < layout.latent_dim; k += kLanes) {
    const F32x8 scale = set8(scales[k / kScaleBlock]);
    const Pair pair = load16(codes + k);
    store8(mul8(pair.even, scale), to + k);
    store8(mul8(pair.odd, scale), to + k + 8);
  }
  pack(reinterpret_cast<const BFloat16*>(record + layout.latent_rope_offset()), layout.rope_dim,
       to + layout.latent_dim);
}

// A packed row, in order, as f32 or bf16. `staging` is a buffer for as many floats.
HWY_INLINE void write_packed(const float* packed,
                             std::int64_t width,
                             float* staging,
                             DType dtype,
                             void* to) {
  unpack_row(packed, width, staging);
  narrow(staging, width, dtype, to);
}

// scores → p = exp(score − max), rounded for the value sum when `round`; returns Σ p before that
// rounding. There is room behind the scores up to padded(count), whatever it holds.
HWY_INLINE float softmax_row(float* scores, std::int64_t count, float scale, bool round) {
  float largest = -std::numeric_limits<float>::infinity();
  for (std::int64_t i = 0; i < count; ++i) {
    scores[i] *= scale;
    largest = std::max(largest, scores[i]);
  }
  const std::int64_t width = padded(count);
  const F32x8 shift = set8(largest);
  for (std::int64_t i = 0; i < width; i += 8) {
    store8(exp8(sub8(load8(scores + i), shift)), scores + i);
  }
  std::fill(scores + count, scores + width, 0.0F);
  float sum = 0;
  for (std::int64_t begin = 0; begin < width; begin += kListBlock) {
    F32x8 low = zero8();
    F32x8 high = zero8();
    for (std::int64_t i = begin; i < std::min(begin + kListBlock, width); i += kLanes) {
      low = add8(low, load8(scores + i));
      high = add8(high, load8(scores + i + 8));
    }
    sum += reduce_natural(low, high);
  }
  if (round) {
    for (std::int64_t i = 0; i < width; i += 8) store8(round8_bf16(load8(scores + i)), scores + i);
  }
  return sum;
}

// sums[m, :] += Σ_i p[m, i] · values[i, :] over the `count` entries of one block, for M rows of p.
template <int M>
HWY_INLINE void add_values(const float* p,
                           std::int64_t p_stride,
                           const float* values,
                           std::int64_t values_stride,
                           std::int64_t count,
                           float* sums,
                           std::int64_t width) {
  for (std::int64_t k = 0; k < width; k += kLanes) {
    F32x8 block[M][2];  // NOLINT(*-avoid-c-arrays)
    for (auto& of_row : block) {
      for (F32x8& sum : of_row) sum = zero8();
    }
    for (std::int64_t i = 0; i < count; ++i) {
      const float* value = values + i * values_stride + k;
      const F32x8 first = load8(value);
      const F32x8 second = load8(value + 8);
      for (int m = 0; m < M; ++m) {
        const F32x8 weight = set8(p[m * p_stride + i]);
        block[m][0] = fma8(weight, first, block[m][0]);
        block[m][1] = fma8(weight, second, block[m][1]);
      }
    }
    for (int m = 0; m < M; ++m) {
      float* sum = sums + m * width + k;
      store8(add8(load8(sum), block[m][0]), sum);
      store8(add8(load8(sum + 8), block[m][1]), sum + 8);
    }
  }
}

// The packed row `sums` over `denominator`, in order, to `to`. `staging` is a buffer for as many.
HWY_INLINE void write_quotient(float* sums,
                               float denominator,
                               std::int64_t width,
                               float* staging,
                               DType dtype,
                               void* to) {
  for (std::int64_t k = 0; k < padded(width); k += 8) {
    store8(div8(load8(sums + k), set8(denominator)), sums + k);
  }
  write_packed(sums, width, staging, dtype, to);
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // FATHOM_BACKEND_CPU_ATTENTION_INL_H_
