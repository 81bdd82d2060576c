#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "base/check.h"
#include "tensor/dtype.h"

namespace fathom {

// A borrowed, strided block of device memory; a loan for the length of the call it is passed to.
// Whether it is read or written is the business of the argument struct that holds it.
//
// Elements of the last dimension are adjacent; the others may have any stride (a row of a wider
// matrix, one head's part of a row). A view without data is "absent": optional operands use it.
struct TensorView {
  static constexpr int kMaxRank = 4;

  void* data = nullptr;
  DType dtype = DType::kF32;
  int rank = 0;
  std::array<std::int64_t, kMaxRank> shape{};
  std::array<std::int64_t, kMaxRank> stride{};  // in elements

  TensorView() = default;
  // A dense, row-major view. Requires 1 to kMaxRank dimensions, none negative.
  TensorView(void* data, DType dtype, std::initializer_list<std::int64_t> shape);

  bool present() const { return data != nullptr; }
  std::int64_t elements() const;
  bool dense() const;

  // The same elements without the leading `begin` and only `count` of the first dimension.
  TensorView rows(std::int64_t begin, std::int64_t count) const;
  // Columns [begin, begin + count) of the last dimension.
  TensorView columns(std::int64_t begin, std::int64_t count) const;
  // The dense view with another shape of as many elements. Requires dense().
  TensorView reshape(std::initializer_list<std::int64_t> new_shape) const;

  // First element of row i of a matrix, or of (i, j) of a three-dimensional view.
  template <class T>
  T* row(std::int64_t i) const {
    return reinterpret_cast<T*>(data) + i * stride[0];
  }
  template <class T>
  T* row(std::int64_t i, std::int64_t j) const {
    return reinterpret_cast<T*>(data) + i * stride[0] + j * stride[1];
  }

  // "bf16[4, 7168]", for messages.
  std::string describe() const;
};

// A weight matrix as a checkpoint stores it: y = x · Wᵀ.
//
// `values` is [out, in] in f32, bf16, f16 or f8_e4m3. For f8_e4m3 `scales` is
// f32 [ceil(out/128), ceil(in/128)] and W[r, k] = values[r, k] · scales[r/128, k/128]
// ("weight_scale_inv" of the published layout); it is absent for the others.
struct WeightView {
  TensorView values;
  TensorView scales;
};

}  // namespace fathom
