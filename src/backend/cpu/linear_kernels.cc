#include "backend/cpu/linear_kernels.h"

#include <algorithm>
#include <type_traits>

#include "backend/cpu/row_buffer.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/linear_kernels.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {
namespace {

// Inputs decoded at a time: 4 × 512 floats stay in the first-level cache.
constexpr std::int64_t kDecodeBlock = 512;
// Rows that share one decoded block; 96 × 512 floats stay in the second-level cache.
constexpr std::int64_t kRowBlock = 96;

template <class W>
constexpr bool kBlocked = std::is_same_v<W, Float8E4M3>;

void store_result(const Product& p, std::int64_t row, std::int64_t column, float value) {
  const std::int64_t at = row * p.y_stride + column;
  if (p.y_dtype == DType::kF32) {
    static_cast<float*>(p.y)[at] = value;
  } else {
    static_cast<BFloat16*>(p.y)[at] = to_bfloat16(value);
  }
}

// Of a tile's columns: a tile begins at a multiple of its width, so all lie in one block of rows.
static_assert(kScaleBlock % kTileColumns == 0);
float block_scale(const Product& p, std::int64_t row, std::int64_t column, std::int64_t block) {
  const float w = p.w_scales[column / kScaleBlock * p.w_scales_stride + block];
  return p.x_scales == nullptr ? w : p.x_scales[row * p.x_scales_stride + block] * w;
}

// ---- few rows: the weights are decoded on their way through the registers -------------------

template <int M, int N>
struct Accumulators {
  F32x8 even[M][N];  // NOLINT(*-avoid-c-arrays)
  F32x8 odd[M][N];   // NOLINT(*-avoid-c-arrays)

  HWY_INLINE void clear() {
    for (int m = 0; m < M; ++m) {
      for (int n = 0; n < N; ++n) even[m][n] = odd[m][n] = zero8();
    }
  }
  HWY_INLINE void step(int n, Pair w, const float* x, std::int64_t x_stride) {
    for (int m = 0; m < M; ++m) {
      even[m][n] = fma8(load8(x + m * x_stride), w.even, even[m][n]);
      odd[m][n] = fma8(load8(x + m * x_stride + 8), w.odd, odd[m][n]);
    }
  }
};

template <class W, int M, int N>
HWY_INLINE void few_rows_span(const W* w,
                              std::int64_t w_stride,
                              const float* x,
                              std::int64_t x_stride,
                              std::int64_t count,
                              Accumulators<M, N>& sums) {
  std::int64_t k = 0;
  for (; k + kLanes <= count; k += kLanes) {
    for (int n = 0; n < N; ++n) sums.step(n, load16(w + n * w_stride + k), x + k, x_stride);
  }
  if (k < count) {
    for (int n = 0; n < N; ++n) {
      sums.step(n, load16(w + n * w_stride + k, count - k), x + k, x_stride);
    }
  }
}

template <class W, int M, int N>
void few_rows_tile(const Product& p, std::int64_t row, std::int64_t column) {
  const W* w = static_cast<const W*>(p.w) + column * p.w_stride;
  const float* x = p.x + row * p.x_stride;
  Accumulators<M, N> total;
  total.clear();
  if constexpr (kBlocked<W>) {
    for (std::int64_t block = 0; block < p.scale_blocks(); ++block) {
      const std::int64_t begin = block * kScaleBlock;
      Accumulators<M, N> sums;
      sums.clear();
      few_rows_span<W, M, N>(w + begin, p.w_stride, x + begin, p.x_stride,
                             std::min(kScaleBlock, p.in - begin), sums);
      for (int m = 0; m < M; ++m) {
        const F32x8 scale = set8(block_scale(p, row + m, column, block));
        for (int n = 0; n < N; ++n) {
          total.even[m][n] = fma8(sums.even[m][n], scale, total.even[m][n]);
          total.odd[m][n] = fma8(sums.odd[m][n], scale, total.odd[m][n]);
        }
      }
    }
  } else {
    few_rows_span<W, M, N>(w, p.w_stride, x, p.x_stride, p.in, total);
  }
  for (int m = 0; m < M; ++m) {
    for (int n = 0; n < N; ++n) {
      store_result(p, row + m, column + n, reduce(total.even[m][n], total.odd[m][n]));
    }
  }
}

template <class W, int M>
void few_rows(const Product& p, std::int64_t begin, std::int64_t end) {
  constexpr int kColumns = M == 1 ? 4 : 2;
  std::int64_t column = begin;
  for (; column + kColumns <= end; column += kColumns) {
    few_rows_tile<W, M, kColumns>(p, 0, column);
  }
  for (; column < end; ++column) few_rows_tile<W, M, 1>(p, 0, column);
}

// ---- many rows: four weight rows are decoded once for up to 96 rows --------------------------

// The totals of a block of rows lie in a buffer [rows][kTileColumns][16 lanes]. A tile works on one
// half of the lanes at a time, the even or the odd ones: `totals` below points at that half.
template <class T>
HWY_INLINE T* total_at(T* totals, std::int64_t m, std::int64_t n) {
  return totals + (m * kTileColumns + n) * kLanes;
}

template <int M>
HWY_INLINE void clear(F32x8 (&sums)[M][kTileColumns]) {  // NOLINT(*-avoid-c-arrays)
  for (auto& of_row : sums) {
    for (F32x8& sum : of_row) sum = zero8();
  }
}

template <int M>
HWY_INLINE void load_totals(const float* totals,
                            F32x8 (&sums)[M][kTileColumns]) {  // NOLINT(*-avoid-c-arrays)
  for (int m = 0; m < M; ++m) {
    for (int n = 0; n < kTileColumns; ++n) sums[m][n] = load8(total_at(totals, m, n));
  }
}

template <int M>
HWY_INLINE void store_totals(const F32x8 (&sums)[M][kTileColumns],  // NOLINT(*-avoid-c-arrays)
                             float* totals) {
  for (int m = 0; m < M; ++m) {
    for (int n = 0; n < kTileColumns; ++n) store8(sums[m][n], total_at(totals, m, n));
  }
}

// Adds the sums of one block of inputs, times the block's scales, to the totals.
template <int M>
HWY_INLINE void add_block(const Product& p,
                          std::int64_t row,
                          std::int64_t column,
                          std::int64_t block,
                          const F32x8 (&sums)[M][kTileColumns],  // NOLINT(*-avoid-c-arrays)
                          float* totals) {
  for (int m = 0; m < M; ++m) {
    const F32x8 scale = set8(block_scale(p, row + m, column, block));
    for (int n = 0; n < kTileColumns; ++n) {
      float* total = total_at(totals, m, n);
      store8(fma8(sums[m][n], scale, load8(total)), total);
    }
  }
}

template <class W, int M>
void many_rows_tile(const Product& p,
                    std::int64_t row,
                    std::int64_t column,
                    std::int64_t first_input,
                    std::int64_t inputs,
                    const float* decoded,
                    float* totals) {
  F32x8 sums[M][kTileColumns];  // NOLINT(*-avoid-c-arrays)
  for (std::int64_t half = 0; half < kLanes; half += kLanes / 2) {
    const float* x = p.x + row * p.x_stride + first_input + half;
    const float* w = decoded + half;
    if constexpr (kBlocked<W>) {
      for (std::int64_t begin = 0; begin < inputs; begin += kScaleBlock) {
        clear<M>(sums);
        tile_span<M>(x + begin, p.x_stride, w + begin, kDecodeBlock,
                     std::min(kScaleBlock, inputs - begin), sums);
        add_block<M>(p, row, column, (first_input + begin) / kScaleBlock, sums, totals + half);
      }
    } else {
      load_totals<M>(totals + half, sums);
      tile_span<M>(x, p.x_stride, w, kDecodeBlock, inputs, sums);
      store_totals<M>(sums, totals + half);
    }
  }
}

// Decodes `inputs` numbers of up to kTileColumns weight rows; missing rows become zero.
template <class W>
void decode(const Product& p,
            std::int64_t column,
            std::int64_t columns,
            std::int64_t first_input,
            std::int64_t inputs,
            float* decoded) {
  for (int n = 0; n < kTileColumns; ++n) {
    float* to = decoded + n * kDecodeBlock;
    if (n >= columns) {
      std::fill_n(to, padded(inputs), 0.0F);
      continue;
    }
    pack(static_cast<const W*>(p.w) + (column + n) * p.w_stride + first_input, inputs, to);
  }
}

template <class W>
void many_rows_column(const Product& p,
                      std::int64_t row_begin,
                      std::int64_t rows,
                      std::int64_t column,
                      std::int64_t columns,
                      float* decoded,
                      float* totals) {
  constexpr std::int64_t kRowTotals = std::int64_t{kTileColumns} * kLanes;
  std::fill_n(totals, rows * kRowTotals, 0.0F);
  for (std::int64_t first = 0; first < p.in; first += kDecodeBlock) {
    const std::int64_t inputs = std::min(kDecodeBlock, p.in - first);
    decode<W>(p, column, columns, first, inputs, decoded);
    std::int64_t row = 0;
    for (; row + kTileRows <= rows; row += kTileRows) {
      many_rows_tile<W, kTileRows>(p, row_begin + row, column, first, inputs, decoded,
                                   totals + row * kRowTotals);
    }
    for (; row < rows; ++row) {
      many_rows_tile<W, 1>(p, row_begin + row, column, first, inputs, decoded,
                           totals + row * kRowTotals);
    }
  }
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t n = 0; n < columns; ++n) {
      const float* total = totals + row * kRowTotals + n * kLanes;
      store_result(p, row_begin + row, column + n, reduce(load8(total), load8(total + 8)));
    }
  }
}

template <class W>
void many_rows(const Product& p, std::int64_t begin, std::int64_t end, float* scratch) {
  float* decoded = scratch;
  float* totals = scratch + kTileColumns * kDecodeBlock;
  for (std::int64_t row = 0; row < p.rows; row += kRowBlock) {
    const std::int64_t rows = std::min(kRowBlock, p.rows - row);
    for (std::int64_t column = begin; column < end; column += kTileColumns) {
      const std::int64_t columns = std::min<std::int64_t>(kTileColumns, end - column);
      many_rows_column<W>(p, row, rows, column, columns, decoded, totals);
    }
  }
}

template <class W>
void run(const Product& p, std::int64_t begin, std::int64_t end, float* scratch) {
  switch (p.rows) {
    case 1:
      return few_rows<W, 1>(p, begin, end);
    case 2:
      return few_rows<W, 2>(p, begin, end);
    case 3:
      return few_rows<W, 3>(p, begin, end);
    default:
      return many_rows<W>(p, begin, end, scratch);
  }
}

void run_product_target(const Product& p, std::int64_t begin, std::int64_t end, float* scratch) {
  switch (p.w_dtype) {
    case DType::kF32:
      return run<float>(p, begin, end, scratch);
    case DType::kBF16:
      return run<BFloat16>(p, begin, end, scratch);
    case DType::kF16:
      return run<Float16>(p, begin, end, scratch);
    case DType::kF8E4M3:
      return run<Float8E4M3>(p, begin, end, scratch);
    default:
      FATHOM_CHECK(false);  // validate() lets nothing else through
  }
}

void pack_row_target(const void* from, DType dtype, std::int64_t width, float* to) {
  switch (dtype) {
    case DType::kF32:
      return pack(static_cast<const float*>(from), width, to);
    case DType::kBF16:
      return pack(static_cast<const BFloat16*>(from), width, to);
    case DType::kF8E4M3:
      return pack(static_cast<const Float8E4M3*>(from), width, to);
    default:
      FATHOM_CHECK(false);  // validate() lets nothing else through
  }
}

}  // namespace
}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(run_product_target);
HWY_EXPORT(pack_row_target);

std::size_t product_scratch_bytes() {
  using namespace HWY_NAMESPACE;  // NOLINT(*-using-namespace): the sizes are every target's
  constexpr std::int64_t kFloats = kTileColumns * kDecodeBlock + kRowBlock * kTileColumns * kLanes;
  return static_cast<std::size_t>(kFloats) * sizeof(float);
}

void run_product(const Product& product, std::int64_t begin, std::int64_t end, void* scratch) {
  HWY_DYNAMIC_DISPATCH(run_product_target)(product, begin, end, static_cast<float*>(scratch));
}

void pack_row(const void* from, DType dtype, std::int64_t width, float* to) {
  HWY_DYNAMIC_DISPATCH(pack_row_target)(from, dtype, width, to);
}

void unpack_row(const float* from, std::int64_t width, float* to) {
  for (std::int64_t k = 0; k < width; ++k) {
    const std::int64_t in_group = k % 16;
    to[k] = from[k / 16 * 16 + (in_group % 2) * 8 + in_group / 2];
  }
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE
