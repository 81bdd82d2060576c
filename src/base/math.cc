#include "base/math.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "base/check.h"

namespace fathom {

namespace {

// c[0] + x·(c[1] + x·(c[2] + …))
template <std::size_t N>
double polynomial(double x, const std::array<double, N>& c) {
  double sum = c[N - 1];
  for (std::size_t i = N - 1; i > 0; --i) sum = std::fma(sum, x, c[i - 1]);
  return sum;
}

double power_of_two(int exponent) {
  return std::bit_cast<double>(static_cast<std::uint64_t>(exponent + 1023) << 52);
}

constexpr double kLog2E = 1.4426950408889634;
// log 2 in two parts; the first has trailing zeros, so that n times it is exact.
constexpr double kLn2High = 0x1.62e42fefa0000p-1;
constexpr double kLn2Low = 0x1.cf79abc9e3b3ap-40;

}  // namespace

// The vector form in backend/cpu/lanes-inl.h takes the same steps; a test compares the bits.
float exp_f32(float x) {
  if (std::isnan(x)) return x;
  const float clamped = std::min(std::max(x, -104.0F), 89.0F);
  const float n = std::fma(clamped, 1.44269504F, 12582912.0F) - 12582912.0F;
  float r = std::fma(n, -0.693145752F, clamped);
  r = std::fma(n, -1.42860677e-6F, r);
  float p = 1.0F / 5040.0F;
  p = std::fma(p, r, 1.0F / 720.0F);
  p = std::fma(p, r, 1.0F / 120.0F);
  p = std::fma(p, r, 1.0F / 24.0F);
  p = std::fma(p, r, 1.0F / 6.0F);
  p = std::fma(p, r, 0.5F);
  p = std::fma(p, r, 1.0F);
  p = std::fma(p, r, 1.0F);
  const auto exponent = static_cast<std::int32_t>(n);
  const std::int32_t half = exponent >> 1;
  const float scale_a = std::bit_cast<float>((half + 127) << 23);
  const float scale_b = std::bit_cast<float>((exponent - half + 127) << 23);
  return p * scale_a * scale_b;
}

float sigmoid_f32(float x) { return 1.0F / (1.0F + exp_f32(-x)); }

double exp_f64(double x) {
  if (std::isnan(x)) return x;
  if (x > 709.8) return std::numeric_limits<double>::infinity();
  if (x < -745.2) return 0;
  const double n = std::nearbyint(x * kLog2E);
  const double r = std::fma(n, -kLn2Low, std::fma(n, -kLn2High, x));
  static constexpr std::array<double, 14> kTaylor = {1.0,
                                                     1.0,
                                                     1.0 / 2,
                                                     1.0 / 6,
                                                     1.0 / 24,
                                                     1.0 / 120,
                                                     1.0 / 720,
                                                     1.0 / 5040,
                                                     1.0 / 40320,
                                                     1.0 / 362880,
                                                     1.0 / 3628800,
                                                     1.0 / 39916800,
                                                     1.0 / 479001600,
                                                     1.0 / 6227020800.0};
  const int exponent = static_cast<int>(n);
  const int half = exponent / 2;
  return polynomial(r, kTaylor) * power_of_two(half) * power_of_two(exponent - half);
}

double log_f64(double x) {
  FATHOM_CHECK(x > 0 && std::isfinite(x));
  int exponent = 0;
  double m = std::frexp(x, &exponent);  // exact: [0.5, 1)
  if (m < 0.70710678118654752) {
    m *= 2;
    --exponent;
  }
  // log m = 2 artanh(s)
  const double s = (m - 1) / (m + 1);
  static constexpr std::array<double, 12> kArtanh = {1.0,      1.0 / 3,  1.0 / 5,  1.0 / 7,
                                                     1.0 / 9,  1.0 / 11, 1.0 / 13, 1.0 / 15,
                                                     1.0 / 17, 1.0 / 19, 1.0 / 21, 1.0 / 23};
  const double log_m = 2 * s * polynomial(s * s, kArtanh);
  return std::fma(exponent, kLn2High, std::fma(exponent, kLn2Low, log_m));
}

double pow_f64(double base, double exponent) { return exp_f64(exponent * log_f64(base)); }

SinCos sin_cos_f64(double x) {
  FATHOM_CHECK(std::fabs(x) < 0x1p30);
  // pi/2 in three parts; with fused multiply-add the remainder keeps its 53 bits.
  const double n = std::nearbyint(x * 0.63661977236758134);
  double r = std::fma(n, -0x1.921fb54442d18p+0, x);
  r = std::fma(n, -0x1.1a62633145c07p-54, r);
  r = std::fma(n, 0x1.f1976b7ed8fbcp-110, r);
  const double r2 = r * r;
  static constexpr std::array<double, 9> kSin = {1.0,
                                                 -1.0 / 6,
                                                 1.0 / 120,
                                                 -1.0 / 5040,
                                                 1.0 / 362880,
                                                 -1.0 / 39916800,
                                                 1.0 / 6227020800.0,
                                                 -1.0 / 1307674368000.0,
                                                 1.0 / 355687428096000.0};
  static constexpr std::array<double, 9> kCos = {1.0,
                                                 -1.0 / 2,
                                                 1.0 / 24,
                                                 -1.0 / 720,
                                                 1.0 / 40320,
                                                 -1.0 / 3628800,
                                                 1.0 / 479001600,
                                                 -1.0 / 87178291200.0,
                                                 1.0 / 20922789888000.0};
  const double sin_r = r * polynomial(r2, kSin);
  const double cos_r = polynomial(r2, kCos);
  switch (static_cast<std::int64_t>(n) & 3) {
    case 0:
      return {sin_r, cos_r};
    case 1:
      return {cos_r, -sin_r};
    case 2:
      return {-sin_r, -cos_r};
    default:
      return {-cos_r, sin_r};
  }
}

}  // namespace fathom
