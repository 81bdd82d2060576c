#include <cstdint>
#include <cstring>

#include "backend/cpu/kernels.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/row_buffer.h"
#include "base/check.h"

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

}  // namespace
}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(convert_row);
HWY_EXPORT(rope_token);

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

}  // namespace

void embed(CpuStream& stream, const ops::EmbedArgs& args) {
  copy_rows(stream, args.table, args.ids, args.y);
}

void gather_rows(CpuStream& stream, const ops::GatherRowsArgs& args) {
  copy_rows(stream, args.x, args.rows, args.y);
}

void fill_ids(CpuStream& /*stream*/, const ops::FillIdsArgs& args) {
  auto* ids = args.ids.row<std::int32_t>(0);
  const auto* tokens = args.tokens.row<const std::int32_t>(0);
  for (std::int64_t i = 0; i < args.ids.shape[0]; ++i) {
    if (ids[i] >= 0) continue;
    const std::int64_t from = -1 - std::int64_t{ids[i]};
    FATHOM_CHECK(from < args.tokens.shape[0]);
    ids[i] = tokens[from];
  }
}

void scatter(CpuStream& /*stream*/, const ops::ScatterArgs& args) {
  const auto* index = args.index.row<const std::int32_t>(0);
  const auto* values = args.values.row<const std::int32_t>(0);
  auto* table = args.table.row<std::int32_t>(0);
  for (std::int64_t i = 0; i < args.index.shape[0]; ++i) {
    FATHOM_CHECK(index[i] >= 0 && index[i] < args.table.shape[0]);
    table[index[i]] = values[i];
  }
}

void rope(CpuStream& stream, const ops::RopeArgs& args) {
  const std::int64_t dim = args.x.shape[2];
  const auto* positions = args.positions.row<const std::int32_t>(0);
  parallel_rows(stream, args.x.shape[0], args.x.shape[1] * dim,
                [&](std::int64_t begin, std::int64_t end, int worker) {
                  float* row = row_buffer(stream, worker, dim);
                  for (std::int64_t t = begin; t < end; ++t) {
                    if (positions[t] < 0) continue;  // padding
                    FATHOM_CHECK(positions[t] < args.cos.shape[0]);
                    HWY_DYNAMIC_DISPATCH(rope_token)(args, t, row);
                  }
                });
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE
