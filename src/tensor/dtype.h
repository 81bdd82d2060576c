#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace fathom {

// Element types of tensors and caches.
enum class DType : std::uint8_t { kF32, kBF16, kF16, kF8E4M3, kI32, kU8 };

constexpr std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kBF16:
    case DType::kF16:
      return 2;
    case DType::kF8E4M3:
    case DType::kU8:
      return 1;
  }
  return 0;
}

// "f32", "bf16", "f16", "f8_e4m3", "i32", "u8".
std::string_view dtype_name(DType dtype);

// One scale of an FP8 format covers this many consecutive numbers, of a weight as many rows too.
constexpr std::int64_t kScaleBlock = 128;

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Storage types. They are bits, not numbers: arithmetic happens in float32.
enum class BFloat16 : std::uint16_t {};
enum class Float16 : std::uint16_t {};
enum class Float8E4M3 : std::uint8_t {};  // e4m3fn: no infinity, 0x7F and 0xFF are NaN, max 448

inline float to_float(float value) { return value; }

inline float to_float(BFloat16 value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value) << 16);
}

float to_float(Float16 value);

// Moves the seven value bits to exponent and mantissa and corrects the exponent's bias with an
// exact multiplication, subnormals included (16.0F * x would do for normals alone).
inline float to_float(Float8E4M3 value) {
  const auto bits = static_cast<std::uint32_t>(value);
  if ((bits & 0x7FU) == 0x7FU) return std::bit_cast<float>(0x7FC00000U);
  const float magnitude = std::bit_cast<float>((bits & 0x7FU) << 20) * 0x1p120F;
  return (bits & 0x80U) != 0 ? -magnitude : magnitude;
}

// Round to nearest, ties to even. NaN stays NaN.
inline BFloat16 to_bfloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return BFloat16{0x7FC0};
  return static_cast<BFloat16>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

// Round to nearest, ties to even, after clamping to [-448, 448]. NaN stays NaN.
Float8E4M3 to_float8_e4m3(float value);

}  // namespace fathom
