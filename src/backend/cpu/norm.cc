#include <cmath>
#include <cstdint>

#include "backend/cpu/kernels.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/row_buffer.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/norm.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/lanes-inl.h"
#include "backend/cpu/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {
namespace {

void widen_weight(const TensorView& weight, float* to) {
  widen(weight.dtype, weight.data, weight.shape[0], to);
}

HWY_INLINE float inverse_root(float sum, std::int64_t n, float epsilon) {
  return 1.0F / std::sqrt(sum / static_cast<float>(n) + epsilon);
}

HWY_INLINE float sum_of_squares(const float* x, std::int64_t n) {
  return lane_sum(x, padded(n), [](F32x8 v, F32x8 sum) HWY_ATTR { return fma8(v, v, sum); });
}

// x = (x · inverse) · w, over whole groups of lanes.
HWY_INLINE void scale_row(float* x, std::int64_t n, float inverse, const float* w) {
  const F32x8 factor = set8(inverse);
  for (std::int64_t i = 0; i < padded(n); i += 8) {
    store8(mul8(mul8(load8(x + i), factor), load8(w + i)), x + i);
  }
}

void rms_norm_rows(const ops::RmsNormArgs& args,
                   const float* w,
                   std::int64_t begin,
                   std::int64_t end,
                   float* row) {
  const std::int64_t n = args.x.shape[1];
  for (std::int64_t t = begin; t < end; ++t) {
    widen(args.x.dtype, row_bytes(args.x, t), n, row);
    scale_row(row, n, inverse_root(sum_of_squares(row, n), n, args.epsilon), w);
    narrow(row, n, args.y.dtype, row_bytes(args.y, t));
  }
}

void add_rms_norm_rows(const ops::AddRmsNormArgs& args,
                       const float* w,
                       std::int64_t begin,
                       std::int64_t end,
                       float* row,
                       float* residual) {
  const std::int64_t n = args.x.shape[1];
  for (std::int64_t t = begin; t < end; ++t) {
    widen(args.x.dtype, row_bytes(args.x, t), n, row);
    widen(args.residual.dtype, row_bytes(args.residual, t), n, residual);
    for (std::int64_t i = 0; i < padded(n); i += 8) {
      store8(add8(load8(row + i), load8(residual + i)), row + i);
    }
    narrow(row, n, args.residual.dtype, row_bytes(args.residual, t));
    scale_row(row, n, inverse_root(sum_of_squares(row, n), n, args.epsilon), w);
    narrow(row, n, args.y.dtype, row_bytes(args.y, t));
  }
}

void layer_norm_rows(const ops::LayerNormArgs& args,
                     const float* w,
                     const float* b,
                     std::int64_t begin,
                     std::int64_t end,
                     float* row) {
  const std::int64_t n = args.x.shape[1];
  for (std::int64_t t = begin; t < end; ++t) {
    widen(args.x.dtype, row_bytes(args.x, t), n, row);
    const float sum =
        lane_sum(row, padded(n), [](F32x8 v, F32x8 total) HWY_ATTR { return add8(total, v); });
    const F32x8 mean = set8(sum / static_cast<float>(n));
    for (std::int64_t i = 0; i < padded(n); i += 8) store8(sub8(load8(row + i), mean), row + i);
    // The padding must stay out of the variance.
    for (std::int64_t i = n; i < padded(n); ++i) row[i] = 0;
    scale_row(row, n, inverse_root(sum_of_squares(row, n), n, args.epsilon), w);
    for (std::int64_t i = 0; i < padded(n); i += 8) {
      store8(add8(load8(row + i), load8(b + i)), row + i);
    }
    narrow(row, n, args.y.dtype, row_bytes(args.y, t));
  }
}

void silu_mul_rows(const ops::SiluMulArgs& args, std::int64_t begin, std::int64_t end) {
  alignas(64) float gate[kRowBlock];  // NOLINT(*-avoid-c-arrays)
  alignas(64) float up[kRowBlock];    // NOLINT(*-avoid-c-arrays)
  const std::int64_t width = args.gate.shape[1];
  const auto size = static_cast<std::int64_t>(size_of(args.gate.dtype));
  const F32x8 one = set8(1);
  for (std::int64_t t = begin; t < end; ++t) {
    for (std::int64_t at = 0; at < width; at += kRowBlock) {
      const std::int64_t n = HWY_MIN(kRowBlock, width - at);
      widen(args.gate.dtype, row_bytes(args.gate, t) + at * size, n, gate);
      widen(args.up.dtype, row_bytes(args.up, t) + at * size, n, up);
      for (std::int64_t i = 0; i < padded(n); i += 8) {
        const F32x8 z = load8(gate + i);
        const F32x8 silu = div8(z, add8(one, exp8(sub8(zero8(), z))));
        store8(mul8(silu, load8(up + i)), gate + i);
      }
      narrow(gate, n, args.y.dtype, row_bytes(args.y, t) + at * size);
    }
  }
}

}  // namespace
}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(widen_weight);
HWY_EXPORT(rms_norm_rows);
HWY_EXPORT(add_rms_norm_rows);
HWY_EXPORT(layer_norm_rows);
HWY_EXPORT(silu_mul_rows);

namespace {

// The weights as padded float32 rows, one after the other, once for all tokens.
const float* widened(CpuStream& stream, const TensorView& first, const TensorView* second) {
  const std::int64_t n = padded(first.shape[0]);
  const std::size_t rows = second == nullptr ? 1 : 2;
  auto* to = static_cast<float*>(
      stream.shared_scratch(rows * static_cast<std::size_t>(n) * sizeof(float)));
  HWY_DYNAMIC_DISPATCH(widen_weight)(first, to);
  if (second != nullptr) HWY_DYNAMIC_DISPATCH(widen_weight)(*second, to + n);
  return to;
}

}  // namespace

void rms_norm(CpuStream& stream, const ops::RmsNormArgs& args) {
  const std::int64_t n = args.x.shape[1];
  const float* w = widened(stream, args.w, nullptr);
  parallel_rows(stream, args.x.shape[0], n, [&](std::int64_t begin, std::int64_t end, int worker) {
    HWY_DYNAMIC_DISPATCH(rms_norm_rows)(args, w, begin, end, row_buffer(stream, worker, n));
  });
}

void add_rms_norm(CpuStream& stream, const ops::AddRmsNormArgs& args) {
  const std::int64_t n = args.x.shape[1];
  const float* w = widened(stream, args.w, nullptr);
  parallel_rows(stream, args.x.shape[0], n, [&](std::int64_t begin, std::int64_t end, int worker) {
    float* row = row_buffer(stream, worker, n, 2);
    HWY_DYNAMIC_DISPATCH(add_rms_norm_rows)(args, w, begin, end, row, row + padded(n));
  });
}

void layer_norm(CpuStream& stream, const ops::LayerNormArgs& args) {
  const std::int64_t n = args.x.shape[1];
  const float* w = widened(stream, args.w, &args.b);
  parallel_rows(stream, args.x.shape[0], n, [&](std::int64_t begin, std::int64_t end, int worker) {
    HWY_DYNAMIC_DISPATCH(layer_norm_rows)
    (args, w, w + padded(n), begin, end, row_buffer(stream, worker, n));
  });
}

void silu_mul(CpuStream& stream, const ops::SiluMulArgs& args) {
  parallel_rows(stream, args.gate.shape[0], 2 * args.gate.shape[1],
                [&](std::int64_t begin, std::int64_t end, int /*worker*/) {
                  HWY_DYNAMIC_DISPATCH(silu_mul_rows)(args, begin, end);
                });
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE
