#pragma once

namespace fathom {

// Elementary functions with one result on every machine: fixed polynomials in fixed order, never
// the C library's, whose last bits differ between versions (docs/arithmetic.md 10).

// float32, error below 1.5 ulp; 0 below about -104, infinity above about 88.8, NaN for NaN.
float exp_f32(float x);
// 1 / (1 + exp(-x)).
float sigmoid_f32(float x);

// float64, error of a few units in the 16th digit.
double exp_f64(double x);
// Requires a positive, finite x.
double log_f64(double x);
// base^exponent for base > 0.
double pow_f64(double base, double exponent);

struct SinCos {
  double sin = 0;
  double cos = 1;
};
// Requires |x| < 2^30.
SinCos sin_cos_f64(double x);

}  // namespace fathom
