#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "base/check.h"
#include "tensor/tensor_view.h"

namespace fathom::cuda {

// Calls `body` with a value of the C++ type that `dtype` stands for, of the given ones.
template <class... Types, class Body>
void with_type(DType dtype, const Body& body) {
  const auto matches = [dtype](auto value) {
    using T = decltype(value);
    if constexpr (std::is_same_v<T, float>) return dtype == DType::kF32;
    if constexpr (std::is_same_v<T, BFloat16>) return dtype == DType::kBF16;
    if constexpr (std::is_same_v<T, Float16>) return dtype == DType::kF16;
    if constexpr (std::is_same_v<T, Float8E4M3>) return dtype == DType::kF8E4M3;
    return false;
  };
  const bool found = ((matches(Types{}) ? (body(Types{}), true) : false) || ...);
  FATHOM_CHECK(found);
}

// A matrix as a kernel takes it.
template <class T>
struct Rows {
  T* data = nullptr;
  std::int64_t stride = 0;

  Rows() = default;
  explicit Rows(const TensorView& view)
      : data(static_cast<T*>(view.data)), stride(view.rank > 1 ? view.stride[0] : 0) {}
  __device__ T* row(std::int64_t i) const { return data + i * stride; }
};

inline unsigned blocks_for(std::int64_t work, std::int64_t each) {
  return static_cast<unsigned>(ceil_div(work, each));
}

// The blocks of `rows` times `parts` of each: block b is part b % parts of row b / parts. In one
// dimension, since a grid's others end at 65,535 and rows do not; the order is that of (parts,
// rows). More blocks than there can be are refused by the launch.
inline unsigned blocks_of_rows(std::int64_t rows, std::int64_t parts) {
  constexpr std::int64_t kMost = std::numeric_limits<unsigned>::max();
  return static_cast<unsigned>(std::min(rows * parts, kMost));
}

}  // namespace fathom::cuda
