#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/cpu_device.h"
#include "tensor/tensor_view.h"

// What the tests of the CPU kernels share.
namespace fathom::cpu {

// Host memory for one operand. It begins as poison: NaN for floats, 0xAA bytes for the rest.
// With a margin the rows are parts of wider ones, whose other elements must stay poison.
class HostTensor {
 public:
  HostTensor(DType dtype, std::vector<std::int64_t> shape, std::int64_t margin = 0)
      : dtype_(dtype), shape_(std::move(shape)), margin_(margin) {
    std::int64_t rows = 1;
    for (std::size_t i = 0; i + 1 < shape_.size(); ++i) rows *= shape_[i];
    bytes_.resize(static_cast<std::size_t>(rows * wide()) * size_of(dtype_),
                  is_float() ? std::byte{0xFF} : std::byte{0xAA});
  }

  TensorView view() {
    TensorView whole(bytes_.data(), dtype_, {shape_.back()});
    whole.rank = static_cast<int>(shape_.size());
    std::int64_t step = 1;
    for (std::size_t i = shape_.size(); i-- > 0;) {
      whole.shape[i] = i + 1 == shape_.size() ? wide() : shape_[i];
      whole.stride[i] = step;
      step *= whole.shape[i];
    }
    return whole.columns(margin_, shape_.back());
  }

  std::int64_t elements() const {
    std::int64_t count = 1;
    for (const std::int64_t size : shape_) count *= size;
    return count;
  }

  // Element i in row-major order of the shape, as a number.
  float get(std::int64_t i) const {
    const std::byte* from = address(i);
    switch (dtype_) {
      case DType::kF32:
        return as<float>(from);
      case DType::kBF16:
        return to_float(as<BFloat16>(from));
      case DType::kF16:
        return to_float(as<Float16>(from));
      case DType::kF8E4M3:
        return to_float(as<Float8E4M3>(from));
      case DType::kI32:
        return static_cast<float>(as<std::int32_t>(from));
      default:
        return static_cast<float>(as<std::uint8_t>(from));
    }
  }
  std::int32_t get_int(std::int64_t i) const { return as<std::int32_t>(address(i)); }
  std::uint32_t code(std::int64_t i) const {
    std::uint32_t bits = 0;
    std::memcpy(&bits, address(i), size_of(dtype_));
    return bits;
  }

  void set(std::int64_t i, float value) {
    switch (dtype_) {
      case DType::kF32:
        return put(i, value);
      case DType::kBF16:
        return put(i, to_bfloat16(value));
      case DType::kF16:  // exact for what fill() gives
        return put(i, static_cast<Float16>(half_bits(value)));
      case DType::kF8E4M3:
        return put(i, to_float8_e4m3(value));
      case DType::kI32:
        return put(i, static_cast<std::int32_t>(value));
      default:
        return put(i, static_cast<std::uint8_t>(value));
    }
  }
  void set_ints(std::initializer_list<std::int32_t> values) {
    std::int64_t i = 0;
    for (const std::int32_t value : values) put(i++, value);
  }
  void set_int(std::int64_t i, std::int32_t value) { put(i, value); }

  // Multiples of 1/64 in [-4, 4), exact in every float dtype but e4m3.
  HostTensor& fill(std::mt19937& random, float scale = 1) {
    for (std::int64_t i = 0; i < elements(); ++i) {
      set(i, scale * static_cast<float>(static_cast<int>(random() % 512) - 256) / 64.0F);
    }
    return *this;
  }
  // A wide range of magnitudes with all mantissa bits in use; f32 and bf16.
  HostTensor& fill_wide(std::mt19937& random) {
    std::normal_distribution<float> normal;
    for (std::int64_t i = 0; i < elements(); ++i) {
      set(i, normal(random) * std::exp2(std::round(2 * normal(random))));
    }
    return *this;
  }

  // The elements' bytes without the margins, for comparisons.
  std::vector<std::byte> content() const {
    std::vector<std::byte> all;
    for (std::int64_t i = 0; i < elements(); ++i) {
      all.insert(all.end(), address(i), address(i) + size_of(dtype_));
    }
    return all;
  }
  bool margins_are_poison() const {
    const std::size_t size = size_of(dtype_);
    const std::byte poison = is_float() ? std::byte{0xFF} : std::byte{0xAA};
    for (std::size_t i = 0; i < bytes_.size(); ++i) {
      const auto column = static_cast<std::int64_t>(i / size) % wide();
      const bool inside = column >= margin_ && column < margin_ + shape_.back();
      if (!inside && bytes_[i] != poison) return false;
    }
    return true;
  }

 private:
  bool is_float() const { return dtype_ != DType::kI32 && dtype_ != DType::kU8; }
  std::int64_t wide() const { return shape_.back() + 2 * margin_; }
  const std::byte* address(std::int64_t i) const {
    const std::int64_t at = i / shape_.back() * wide() + margin_ + i % shape_.back();
    return bytes_.data() + static_cast<std::size_t>(at) * size_of(dtype_);
  }
  template <class T>
  static T as(const std::byte* from) {
    T value;
    std::memcpy(&value, from, sizeof value);
    return value;
  }
  template <class T>
  void put(std::int64_t i, T value) {
    std::memcpy(const_cast<std::byte*>(address(i)), &value, sizeof value);
  }
  static std::uint16_t half_bits(float value) {
    if (value == 0) return 0;
    int exponent = 0;
    const float mantissa = std::frexp(std::fabs(value), &exponent);  // [0.5, 1)
    const auto bits = static_cast<unsigned>((exponent + 14) << 10) +
                      static_cast<unsigned>((mantissa * 2 - 1) * 1024);
    return static_cast<std::uint16_t>(bits | (value < 0 ? 0x8000U : 0U));
  }

  DType dtype_;
  std::vector<std::int64_t> shape_;
  std::int64_t margin_;
  std::vector<std::byte> bytes_;
};

// The fixed tree over sixteen lanes, by its definition (docs/arithmetic.md 1).
inline float lane_tree(const std::array<float, 16>& lane) {
  std::array<float, 8> sum{};
  for (std::size_t i = 0; i < 8; ++i) sum[i] = lane[2 * i] + lane[2 * i + 1];
  for (const std::size_t half : {4U, 2U, 1U}) {
    for (std::size_t i = 0; i < half; ++i) sum[i] += sum[i + half];
  }
  return sum[0];
}

inline float canonical_sum(std::span<const float> terms) {
  std::array<float, 16> lane{};
  for (std::size_t k = 0; k < terms.size(); ++k) lane[k % 16] += terms[k];
  return lane_tree(lane);
}

inline float canonical_sum_of_squares(std::span<const float> x) {
  std::array<float, 16> lane{};
  for (std::size_t k = 0; k < x.size(); ++k) lane[k % 16] = std::fma(x[k], x[k], lane[k % 16]);
  return lane_tree(lane);
}

// Requires as many numbers in `w` as in `x`.
inline float canonical_dot(std::span<const float> x, std::span<const float> w) {
  std::array<float, 16> lane{};
  for (std::size_t k = 0; k < x.size(); ++k) lane[k % 16] = std::fma(x[k], w[k], lane[k % 16]);
  return lane_tree(lane);
}

inline std::uint32_t bits_of(float value) { return std::bit_cast<std::uint32_t>(value); }

// Rounded to f32 or bf16 and back.
inline float rounded(float value, DType dtype) {
  return dtype == DType::kBF16 ? to_float(to_bfloat16(value)) : value;
}

// Row lengths around the sizes of a vector, of the lanes and of a group.
inline constexpr std::array<std::int64_t, 9> kAwkwardWidths = {1, 7, 8, 15, 16, 17, 127, 128, 129};

}  // namespace fathom::cpu
