#include "make_checkpoint/random_tensor.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "tensor/tensor_view.h"

namespace fathom::make_checkpoint {
namespace {

// A bijection of 64-bit numbers in which every input bit reaches every output bit.
std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 32U)) * 0xD6E8FEB86659FD93U;
  x = (x ^ (x >> 32U)) * 0xD6E8FEB86659FD93U;
  return x ^ (x >> 32U);
}

constexpr std::uint64_t kOddStep = 0x9E3779B97F4A7C15U;  // 2^64 over the golden ratio

float value_at(const RandomNumbers& numbers, const Spread& spread, std::int64_t index) {
  const float offset = spread.bell ? numbers.bell(index) : 2 * numbers.uniform(index) - 1;
  return spread.middle + spread.width * offset;
}

float scale_for(float largest, bool power_of_two) {
  constexpr float kSmallest = 1e-12F;  // a block of zeros gets a scale all the same
  const float scale = std::max(largest, kSmallest) / 448.0F;
  if (!power_of_two) return scale;
  int exponent = 0;
  const float fraction = std::frexp(scale, &exponent);  // in [0.5, 1)
  return std::ldexp(1.0F, fraction == 0.5F ? exponent - 1 : exponent);
}

}  // namespace

RandomNumbers::RandomNumbers(std::uint64_t seed, std::string_view name) : key_(mix(seed)) {
  for (const char character : name) {
    key_ = mix(key_ + static_cast<unsigned char>(character) + kOddStep);
  }
}

std::uint64_t RandomNumbers::bits(std::int64_t index) const {
  return mix(key_ + static_cast<std::uint64_t>(index) * kOddStep);
}

float RandomNumbers::uniform(std::int64_t index) const {
  return static_cast<float>(bits(index) >> 40U) * 0x1p-24F;
}

float RandomNumbers::bell(std::int64_t index) const {
  const std::uint64_t four = bits(index);
  // Two 16-bit numbers are added in each half; the sum of four has mean 2^17 - 2 and a standard
  // deviation of 2^16 / sqrt(3).
  constexpr std::uint64_t kLowHalves = 0x0000FFFF0000FFFFU;
  const std::uint64_t pairs = (four & kLowHalves) + ((four >> 16U) & kLowHalves);
  const auto sum = static_cast<std::int32_t>((pairs & 0xFFFFFFFFU) + (pairs >> 32U));
  return static_cast<float>(sum - 131'070) * (1.7320508F / 65536.0F);
}

void fill(const RandomNumbers& numbers,
          const Spread& spread,
          DType dtype,
          std::int64_t first,
          std::span<std::byte> out) {
  FATHOM_CHECK(dtype == DType::kF32 || dtype == DType::kBF16);
  const std::size_t size = size_of(dtype);
  const std::size_t count = out.size() / size;
  for (std::size_t i = 0; i < count; ++i) {
    const float value = value_at(numbers, spread, first + static_cast<std::int64_t>(i));
    if (dtype == DType::kF32) {
      std::memcpy(out.data() + i * size, &value, sizeof(value));
    } else {
      const BFloat16 rounded = to_bfloat16(value);
      std::memcpy(out.data() + i * size, &rounded, sizeof(rounded));
    }
  }
}

void fill_quantised(const RandomNumbers& numbers,
                    const Spread& spread,
                    std::int64_t columns,
                    bool power_of_two,
                    std::int64_t first_row,
                    std::span<std::byte> codes,
                    std::span<float> scales) {
  FATHOM_CHECK(first_row % kScaleBlock == 0);
  const std::int64_t rows = static_cast<std::int64_t>(codes.size()) / columns;
  std::vector<float> block(static_cast<std::size_t>(kScaleBlock * kScaleBlock));
  auto scale = scales.begin();
  for (std::int64_t top = 0; top < rows; top += kScaleBlock) {
    const std::int64_t height = std::min(kScaleBlock, rows - top);
    for (std::int64_t left = 0; left < columns; left += kScaleBlock) {
      const std::int64_t width = std::min(kScaleBlock, columns - left);
      float largest = 0;
      for (std::int64_t r = 0; r < height; ++r) {
        for (std::int64_t c = 0; c < width; ++c) {
          const std::int64_t index = (first_row + top + r) * columns + left + c;
          const float value = value_at(numbers, spread, index);
          block[static_cast<std::size_t>(r * kScaleBlock + c)] = value;
          largest = std::max(largest, std::abs(value));
        }
      }
      *scale = scale_for(largest, power_of_two);
      for (std::int64_t r = 0; r < height; ++r) {
        for (std::int64_t c = 0; c < width; ++c) {
          const float value = block[static_cast<std::size_t>(r * kScaleBlock + c)] / *scale;
          codes[static_cast<std::size_t>((top + r) * columns + left + c)] =
              static_cast<std::byte>(to_float8_e4m3(value));
        }
      }
      ++scale;
    }
  }
}

}  // namespace fathom::make_checkpoint
