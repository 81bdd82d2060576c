#include "tensor/dtype.h"

#include <algorithm>
#include <cmath>

namespace fathom {

std::string_view dtype_name(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "f32";
    case DType::kBF16:
      return "bf16";
    case DType::kF16:
      return "f16";
    case DType::kF8E4M3:
      return "f8_e4m3";
    case DType::kI32:
      return "i32";
    case DType::kU8:
      return "u8";
  }
  return "unknown";
}

float to_float(Float16 value) {
  const auto bits = static_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits & 0x8000U) << 16;
  if ((bits & 0x7C00U) == 0x7C00U) {  // infinity or NaN
    return std::bit_cast<float>(sign | 0x7F800000U | ((bits & 0x3FFU) << 13));
  }
  const float magnitude = std::bit_cast<float>((bits & 0x7FFFU) << 13) * 0x1p112F;
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
}

Float8E4M3 to_float8_e4m3(float value) {
  const std::uint32_t sign = (std::bit_cast<std::uint32_t>(value) >> 24) & 0x80U;
  if (std::isnan(value)) return static_cast<Float8E4M3>(sign | 0x7FU);
  const float magnitude = std::min(std::fabs(value), 448.0F);
  if (magnitude < 0x1p-6F) {
    // Subnormals are multiples of 2^-9. Adding 2^14 leaves exactly those bits in the mantissa,
    // rounded to nearest even by the addition itself; 8 of them are the smallest normal.
    const float shifted = magnitude + 0x1p14F;
    return static_cast<Float8E4M3>(sign | (std::bit_cast<std::uint32_t>(shifted) & 0xFU));
  }
  std::uint32_t bits = std::bit_cast<std::uint32_t>(magnitude);
  bits += 0x7FFFFU + ((bits >> 20) & 1U);
  return static_cast<Float8E4M3>(sign | ((bits >> 20) - (120U << 3)));
}

}  // namespace fathom
