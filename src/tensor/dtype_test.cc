#include "tensor/dtype.h"

#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>

namespace fathom {
namespace {

// The value of an e4m3fn code by the definition of the format.
double e4m3_value(unsigned code) {
  const int exponent = static_cast<int>((code >> 3) & 15U);
  const int mantissa = static_cast<int>(code & 7U);
  const double sign = (code & 0x80U) != 0 ? -1 : 1;
  if (exponent == 15 && mantissa == 7) return std::numeric_limits<double>::quiet_NaN();
  return sign *
         (exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10));
}

TEST(Float8, EveryCodeDecodesToItsValueAndBack) {
  for (unsigned code = 0; code < 256; ++code) {
    const float value = to_float(static_cast<Float8E4M3>(code));
    if (std::isnan(e4m3_value(code))) {
      EXPECT_TRUE(std::isnan(value));
      continue;
    }
    EXPECT_EQ(value, e4m3_value(code)) << code;
    EXPECT_EQ(static_cast<unsigned>(to_float8_e4m3(value)), code);
  }
}

TEST(Float8, RoundsToTheNearestAndTiesToEven) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> exponent(-11, 9);
  for (int i = 0; i < 100000; ++i) {
    const float x = std::exp2(exponent(random)) * ((i & 1) != 0 ? -1.0F : 1.0F);
    const auto code = static_cast<unsigned>(to_float8_e4m3(x));
    const double error = std::fabs(x - e4m3_value(code));
    for (const int step : {-1, 1}) {
      const unsigned other = (code & 0x80U) | ((code + static_cast<unsigned>(step)) & 0x7FU);
      if ((other & 0x7FU) == 0x7FU || ((code & 0x7FU) == 0 && step < 0)) continue;
      const double other_error = std::fabs(x - e4m3_value(other));
      EXPECT_LE(error, other_error) << x;
      if (error == other_error) {
        EXPECT_EQ(code & 1U, 0U) << x;
      }
    }
  }
}

TEST(Float8, MidpointsAndTheEndsOfTheRange) {
  EXPECT_EQ(static_cast<unsigned>(to_float8_e4m3(0x1p-10F)), 0U);        // half a step: to even
  EXPECT_EQ(static_cast<unsigned>(to_float8_e4m3(0x1.8p-9F)), 2U);       // 1.5 steps: to even
  EXPECT_EQ(static_cast<unsigned>(to_float8_e4m3(7.5F * 0x1p-9F)), 8U);  // into the normals
  EXPECT_EQ(static_cast<unsigned>(to_float8_e4m3(-0.0F)), 0x80U);
  EXPECT_EQ(static_cast<unsigned>(to_float8_e4m3(1e9F)), 0x7EU);
  EXPECT_EQ(static_cast<unsigned>(to_float8_e4m3(-INFINITY)), 0xFEU);
  EXPECT_TRUE(std::isnan(to_float(to_float8_e4m3(NAN))));
}

TEST(BFloat16, RoundsToTheNearestAndTiesToEven) {
  EXPECT_EQ(to_bfloat16(1.0F), BFloat16{0x3F80});
  EXPECT_EQ(to_bfloat16(1.0F + 0x1p-8F), BFloat16{0x3F80});
  EXPECT_EQ(to_bfloat16(1.0F + 0x1.8p-7F), BFloat16{0x3F82});
  EXPECT_EQ(to_bfloat16(std::numeric_limits<float>::max()), BFloat16{0x7F80});
  EXPECT_TRUE(std::isnan(to_float(to_bfloat16(NAN))));
  for (unsigned bits = 0; bits < 0x10000U; ++bits) {
    const auto value = static_cast<BFloat16>(bits);
    if (!std::isnan(to_float(value))) {
      EXPECT_EQ(to_bfloat16(to_float(value)), value);
    }
  }
}

TEST(Float16, DecodesNormalsSubnormalsAndSpecials) {
  EXPECT_EQ(to_float(Float16{0x3C00}), 1.0F);
  EXPECT_EQ(to_float(Float16{0xC000}), -2.0F);
  EXPECT_EQ(to_float(Float16{0x0001}), 0x1p-24F);
  EXPECT_EQ(to_float(Float16{0x7BFF}), 65504.0F);
  EXPECT_EQ(to_float(Float16{0x7C00}), INFINITY);
  EXPECT_TRUE(std::isnan(to_float(Float16{0x7C01})));
}

}  // namespace
}  // namespace fathom
