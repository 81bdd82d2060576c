#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/tensor_view.h"

namespace fathom::cpu {

// One product y = x · Wᵀ as the kernels see it. Strides are in elements.
//
// `x` is packed: float32 rows padded with zeros to padded(in) numbers (row_buffer.h), every 16
// stored as their 8 even ones, then their 8 odd ones (lanes-inl.h).
struct Product {
  const float* x = nullptr;  // [rows, x_stride]
  std::int64_t x_stride = 0;
  const float* x_scales = nullptr;  // [rows, ceil(in/128)] or nullptr
  std::int64_t x_scales_stride = 0;
  std::int64_t rows = 0;
  std::int64_t in = 0;
  std::int64_t out = 0;
  const void* w = nullptr;  // [out, in]
  DType w_dtype = DType::kF32;
  std::int64_t w_stride = 0;
  const float* w_scales = nullptr;  // [ceil(out/128), ceil(in/128)] with f8_e4m3
  std::int64_t w_scales_stride = 0;
  void* y = nullptr;  // [rows, out]
  DType y_dtype = DType::kF32;
  std::int64_t y_stride = 0;

  std::int64_t scale_blocks() const { return ceil_div(in, kScaleBlock); }
};

// Packs one row of f32, bf16 or f8_e4m3 numbers (scales not applied) into padded(width) floats.
void pack_row(const void* from, DType dtype, std::int64_t width, float* to);

// The reverse for a packed float32 row.
void unpack_row(const float* from, std::int64_t width, float* to);

// Output columns that one task computes; a multiple of the kernels' tile.
inline constexpr std::int64_t kTaskColumns = 16;

// Scratch of one task, in bytes.
std::size_t product_scratch_bytes();

// Computes the columns [begin, end) of all rows. `begin` is a multiple of 4.
void run_product(const Product& product, std::int64_t begin, std::int64_t end, void* scratch);

}  // namespace fathom::cpu
