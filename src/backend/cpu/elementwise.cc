#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "backend/cpu/kernels.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/row_buffer.h"
#include "base/check.h"
#include "base/math.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/elementwise.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/lanes-inl.h"
#include "backend/cpu/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {
namespace {

void convert_row(DType from_dtype,
                 const std::byte* from,
                 std::int64_t n,
                 DType to_dtype,
                 std::byte* to) {
  alignas(64) float block[kRowBlock];  // NOLINT(*-avoid-c-arrays)
  const auto from_size = static_cast<std::int64_t>(size_of(from_dtype));
  const auto to_size = static_cast<std::int64_t>(size_of(to_dtype));
  for (std::int64_t at = 0; at < n; at += kRowBlock) {
    const std::int64_t count = HWY_MIN(kRowBlock, n - at);
    widen(from_dtype, from + at * from_size, count, block);
    narrow(block, count, to_dtype, to + at * to_size);
  }
}

// One rotated pair. Two rounded products and a rounded sum each, nothing fused.
HWY_INLINE Pair rotate8(F32x8 a, F32x8 b, F32x8 cos, F32x8 sin) {
  return {sub8(mul8(a, cos), mul8(b, sin)), add8(mul8(a, sin), mul8(b, cos))};
}

HWY_INLINE void rotate(float& a, float& b, float cos, float sin) {
  const float x = a;
  const float y = b;
  a = x * cos - y * sin;
  b = x * sin + y * cos;
}

HWY_INLINE void rotate_halves(float* x, const float* cos, const float* sin, std::int64_t half) {
  std::int64_t i = 0;
  for (; i + 8 <= half; i += 8) {
    const Pair y = rotate8(load8(x + i), load8(x + half + i), load8(cos + i), load8(sin + i));
    store8(y.even, x + i);
    store8(y.odd, x + half + i);
  }
  for (; i < half; ++i) rotate(x[i], x[half + i], cos[i], sin[i]);
}

HWY_INLINE void rotate_neighbours(float* x, const float* cos, const float* sin, std::int64_t half) {
  std::int64_t i = 0;
  for (; i + 8 <= half; i += 8) {
    const Pair in = load16(x + 2 * i);
    const Pair y = rotate8(in.even, in.odd, load8(cos + i), load8(sin + i));
    for (std::int64_t p = 0; p < kParts; ++p) {
      hn::StoreInterleaved2(y.even.part[p], y.odd.part[p], D32(), x + 2 * (i + p * kPartLanes));
    }
  }
  for (; i < half; ++i) rotate(x[2 * i], x[2 * i + 1], cos[i], sin[i]);
}

// The heads of one token. `row` is a buffer for dim numbers.
void rope_token(const ops::RopeArgs& args, std::int64_t token, float* row) {
  const std::int64_t dim = args.x.shape[2];
  const std::int32_t position = args.positions.row<const std::int32_t>(0)[token];
  const auto* cos = args.cos.row<const float>(position);
  const auto* sin = args.sin.row<const float>(position);
  for (std::int64_t head = 0; head < args.x.shape[1]; ++head) {
    widen(args.x.dtype, row_bytes(args.x, token, head), dim, row);
    if (args.pairing == ops::RopePairing::kHalfSplit) {
      rotate_halves(row, cos, sin, dim / 2);
    } else {
      rotate_neighbours(row, cos, sin, dim / 2);
    }
    narrow(row, dim, args.y.dtype, row_bytes(args.y, token, head));
  }
}

constexpr float kLowest = -std::numeric_limits<float>::infinity();

// The largest number of a row, NaN left out; -infinity when there is none.
float max_of_row(const float* x, std::int64_t n) {
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
std::int64_t find_in_row(const float* x, std::int64_t n, float value) {
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

// The canonical sum of exp(x[i] - shift).
float exp_sum_of_row(const float* x, std::int64_t n, float shift) {
  const F32x8 offset = set8(shift);
  F32x8 low = zero8();
  F32x8 high = zero8();
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    low = add8(low, exp8(sub8(load8(x + i), offset)));
    high = add8(high, exp8(sub8(load8(x + i + 8), offset)));
  }
  if (i < n) {
    float tail[kLanes];  // NOLINT(*-avoid-c-arrays)
    for (std::int64_t j = 0; j < kLanes; ++j) {
      tail[j] = kLowest;  // exp gives 0
      if (i + j < n) tail[j] = x[i + j];
    }
    low = add8(low, exp8(sub8(load8(tail), offset)));
    high = add8(high, exp8(sub8(load8(tail + 8), offset)));
  }
  return reduce_natural(low, high);
}

}  // namespace
}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(convert_row);
HWY_EXPORT(rope_token);
HWY_EXPORT(max_of_row);
HWY_EXPORT(find_in_row);
HWY_EXPORT(exp_sum_of_row);

namespace {

void copy_row(const TensorView& from, std::int64_t i, const TensorView& to, std::int64_t j) {
  FATHOM_CHECK(i >= 0 && i < from.shape[0]);
  const std::int64_t n = to.shape[1];
  if (from.dtype == to.dtype) {
    std::memcpy(row_bytes(to, j), row_bytes(from, i),
                static_cast<std::size_t>(n) * size_of(to.dtype));
  } else {
    HWY_DYNAMIC_DISPATCH(convert_row)
    (from.dtype, row_bytes(from, i), n, to.dtype, row_bytes(to, j));
  }
}

void copy_rows(CpuStream& stream,
               const TensorView& from,
               const TensorView& numbers,
               const TensorView& to) {
  if (to.elements() == 0) return;
  const auto* number = numbers.row<const std::int32_t>(0);
  parallel_rows(stream, to.shape[0], to.shape[1] / 4,
                [&](std::int64_t begin, std::int64_t end, int /*worker*/) {
                  for (std::int64_t j = begin; j < end; ++j) copy_row(from, number[j], to, j);
                });
}

// log Σ exp(x), NaN when the row holds a NaN or no finite maximum.
float log_sum_of_row(const float* x, std::int64_t n, float max) {
  if (!std::isfinite(max)) return std::numeric_limits<float>::quiet_NaN();
  const float sum = HWY_DYNAMIC_DISPATCH(exp_sum_of_row)(x, n, max);
  if (!std::isfinite(sum)) return std::numeric_limits<float>::quiet_NaN();
  return static_cast<float>(static_cast<double>(max) + log_f64(static_cast<double>(sum)));
}

}  // namespace

void embed(CpuStream& stream, const ops::EmbedArgs& args) {
  copy_rows(stream, args.table, args.ids, args.y);
}

void gather_rows(CpuStream& stream, const ops::GatherRowsArgs& args) {
  copy_rows(stream, args.x, args.rows, args.y);
}

void rope(CpuStream& stream, const ops::RopeArgs& args) {
  const std::int64_t dim = args.x.shape[2];
  const auto* positions = args.positions.row<const std::int32_t>(0);
  parallel_rows(stream, args.x.shape[0], args.x.shape[1] * dim,
                [&](std::int64_t begin, std::int64_t end, int worker) {
                  float* row = row_buffer(stream, worker, dim);
                  for (std::int64_t t = begin; t < end; ++t) {
                    FATHOM_CHECK(positions[t] >= 0 && positions[t] < args.cos.shape[0]);
                    HWY_DYNAMIC_DISPATCH(rope_token)(args, t, row);
                  }
                });
}

void argmax(CpuStream& stream, const ops::ArgmaxArgs& args) {
  const std::int64_t vocab = args.logits.shape[1];
  const bool with_sum = args.log_sum.present();
  parallel_rows(stream, args.logits.shape[0], vocab,
                [&](std::int64_t begin, std::int64_t end, int /*worker*/) {
                  for (std::int64_t t = begin; t < end; ++t) {
                    const auto* x = args.logits.row<const float>(t);
                    const float max = HWY_DYNAMIC_DISPATCH(max_of_row)(x, vocab);
                    args.token.row<std::int32_t>(0)[t] =
                        static_cast<std::int32_t>(HWY_DYNAMIC_DISPATCH(find_in_row)(x, vocab, max));
                    if (with_sum) {
                      args.log_sum.row<float>(0)[t] = log_sum_of_row(x, vocab, max);
                    }
                  }
                });
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE
