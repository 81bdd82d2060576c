#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/cpu/cpu_device.h"
#include "tensor/tensor_view.h"

namespace fathom::cpu {

// Kernels compute on float32 rows that are padded with zeros to whole groups of sixteen lanes.
constexpr std::int64_t padded(std::int64_t n) { return (n + 15) / 16 * 16; }

// A worker's buffer for `rows` padded rows of n numbers, one after the other.
inline float* row_buffer(CpuStream& stream, int worker, std::int64_t n, std::int64_t rows = 1) {
  return static_cast<float*>(
      stream.worker_scratch(worker, static_cast<std::size_t>(padded(n) * rows) * sizeof(float)));
}

// First byte of row i of a matrix, or of (i, j) of a three-dimensional view, of any dtype.
inline std::byte* row_bytes(const TensorView& view, std::int64_t i, std::int64_t j = 0) {
  const std::int64_t element = i * view.stride[0] + j * view.stride[1];
  return static_cast<std::byte*>(view.data) +
         element * static_cast<std::int64_t>(size_of(view.dtype));
}

}  // namespace fathom::cpu
