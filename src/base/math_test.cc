#include "base/math.h"

#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>

namespace fathom {
namespace {

// The C library's long double functions are the oracle: other code, eleven more bits.

TEST(Math, Exp32StaysWithinOneAndAHalfUlp) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(-87.0F, 88.7F);
  double worst = 0;
  for (int i = 0; i < 200000; ++i) {
    const float x = i < 1000 ? static_cast<float>(i) * -1e-4F : uniform(random);
    const long double want = std::exp(static_cast<long double>(x));
    const float ulp = std::nextafter(static_cast<float>(want), INFINITY) - static_cast<float>(want);
    worst = std::max(worst, static_cast<double>(std::fabs(exp_f32(x) - want) / ulp));
  }
  EXPECT_LT(worst, 1.5);
}

TEST(Math, Exp32AtTheEdges) {
  EXPECT_EQ(exp_f32(0.0F), 1.0F);
  EXPECT_EQ(exp_f32(-0.0F), 1.0F);
  EXPECT_EQ(exp_f32(-INFINITY), 0.0F);
  EXPECT_EQ(exp_f32(INFINITY), INFINITY);
  EXPECT_EQ(exp_f32(-200.0F), 0.0F);
  EXPECT_TRUE(std::isnan(exp_f32(NAN)));
  EXPECT_NEAR(exp_f32(-100.0F), 3.8e-44F, 2e-45F);  // a subnormal
  EXPECT_EQ(sigmoid_f32(0.0F), 0.5F);
  EXPECT_EQ(sigmoid_f32(-INFINITY), 0.0F);
  EXPECT_EQ(sigmoid_f32(200.0F), 1.0F);
}

TEST(Math, DoubleFunctionsAgreeToFifteenDigits) {
  std::mt19937_64 random(2);
  std::uniform_real_distribution<double> uniform(0, 1);
  for (int i = 0; i < 100000; ++i) {
    const double x = (uniform(random) - 0.5) * 1000;
    const long double exp_want = std::exp(static_cast<long double>(x));
    EXPECT_NEAR(static_cast<double>(exp_f64(x) / exp_want), 1, 1e-15) << x;

    const double y = exp_f64(x * 0.5);
    const long double log_want = std::log(static_cast<long double>(y));
    EXPECT_NEAR(log_f64(y), static_cast<double>(log_want),
                4e-16 * std::max(1.0, std::fabs(static_cast<double>(log_want))));

    const double angle = uniform(random) * 200000;
    const SinCos both = sin_cos_f64(angle);
    EXPECT_NEAR(both.sin, static_cast<double>(std::sin(static_cast<long double>(angle))), 4e-16);
    EXPECT_NEAR(both.cos, static_cast<double>(std::cos(static_cast<long double>(angle))), 4e-16);
  }
  EXPECT_NEAR(pow_f64(10000, -18.0 / 64), std::pow(10000.0, -18.0 / 64), 1e-16);
  EXPECT_EQ(exp_f64(-800), 0);
  EXPECT_EQ(exp_f64(800), std::numeric_limits<double>::infinity());
}

}  // namespace
}  // namespace fathom
