#pragma once

#include <cstdint>

#include <cuda_fp16.h>

#include "tensor/dtype.h"

// Numbers on the device, to the bit of docs/arithmetic.md. Compiled without contraction: what is to
// be fused says fmaf.
namespace fathom::cuda {

constexpr int kLanes = 16;  // of every sum: half a warp
constexpr unsigned kWholeWarp = 0xFFFFFFFFU;

__device__ inline float widen(float value) { return value; }
__device__ inline float widen(BFloat16 value) {
  return __uint_as_float(static_cast<std::uint32_t>(value) << 16);
}
__device__ inline float widen(Float16 value) {
  return __half2float(__ushort_as_half(static_cast<unsigned short>(value)));
}
// NaN codes give ±480, as in every kernel that reads codes in bulk.
__device__ inline float widen(Float8E4M3 value) {
  const auto bits = static_cast<std::uint32_t>(value);
  return __uint_as_float(((bits & 0x80U) << 24) | ((bits & 0x7FU) << 20)) * 0x1p120F;
}

template <class T>
__device__ T narrow(float value);
template <>
__device__ inline float narrow<float>(float value) {
  return value;
}
template <>
__device__ inline BFloat16 narrow<BFloat16>(float value) {
  const std::uint32_t bits = __float_as_uint(value);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return BFloat16{0x7FC0};
  return static_cast<BFloat16>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}
// One addition rounds normals and subnormals alike: 2^20 times the power of two below |x| (2^-6 for
// subnormals) has an ulp of one step of the format there, so the sum's low bits count steps.
template <>
__device__ inline Float8E4M3 narrow<Float8E4M3>(float value) {
  const std::uint32_t bits = __float_as_uint(value);
  const std::uint32_t sign = (bits >> 24) & 0x80U;
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return static_cast<Float8E4M3>(0x7FU | sign);
  const float magnitude = fminf(fabsf(value), 448.0F);
  const std::uint32_t least = 121U << 23;
  const std::uint32_t own = __float_as_uint(magnitude) & 0x7F800000U;
  const std::uint32_t exponent = own > least ? own : least;
  const std::uint32_t steps =
      __float_as_uint(magnitude + __uint_as_float(exponent + (20U << 23))) & 0x1FU;
  return static_cast<Float8E4M3>((((exponent - least) >> 20) + steps) | sign);
}

// The tree over sixteen lanes: every thread of a half warp brings its lane and gets the sum.
__device__ inline float reduce_lanes(float lane) {
  lane += __shfl_xor_sync(kWholeWarp, lane, 1);
  lane += __shfl_xor_sync(kWholeWarp, lane, 8);
  lane += __shfl_xor_sync(kWholeWarp, lane, 4);
  lane += __shfl_xor_sync(kWholeWarp, lane, 2);
  return lane;
}

__device__ inline float warp_max(float value) {
  for (int apart = 16; apart > 0; apart /= 2) {
    value = fmaxf(value, __shfl_xor_sync(kWholeWarp, value, apart));
  }
  return value;
}

// base/math.h's, step by step.
__device__ inline float exp_f32(float x) {
  if (x != x) return x;
  const float clamped = fminf(fmaxf(x, -104.0F), 89.0F);
  const float n = fmaf(clamped, 1.44269504F, 12582912.0F) - 12582912.0F;
  float r = fmaf(n, -0.693145752F, clamped);
  r = fmaf(n, -1.42860677e-6F, r);
  float p = 1.0F / 5040.0F;
  p = fmaf(p, r, 1.0F / 720.0F);
  p = fmaf(p, r, 1.0F / 120.0F);
  p = fmaf(p, r, 1.0F / 24.0F);
  p = fmaf(p, r, 1.0F / 6.0F);
  p = fmaf(p, r, 0.5F);
  p = fmaf(p, r, 1.0F);
  p = fmaf(p, r, 1.0F);
  const int exponent = static_cast<int>(n);
  const int half = exponent >> 1;
  const float scale_a = __int_as_float((half + 127) << 23);
  const float scale_b = __int_as_float((exponent - half + 127) << 23);
  return p * scale_a * scale_b;
}
__device__ inline float sigmoid_f32(float x) { return 1.0F / (1.0F + exp_f32(-x)); }

// The scale of a group whose largest magnitude is `largest` (docs/arithmetic.md 4).
__device__ inline float group_scale(float largest, bool ue8m0) {
  const float scale = (largest > 1e-4F ? largest : 1e-4F) * (1.0F / 448.0F);
  if (!ue8m0) return scale;
  const std::uint32_t bits = __float_as_uint(scale);
  const std::uint32_t up = (bits & 0x7FFFFFU) != 0 ? 0x800000U : 0U;
  return __uint_as_float((bits & 0x7F800000U) + up);
}

// Orders as the number does: -0 equals +0, NaN is below everything.
__device__ inline std::uint32_t order_key(float value) {
  const std::uint32_t bits = __float_as_uint(value + 0.0F);
  const std::uint32_t all_if_negative = 0U - (bits >> 31U);
  const std::uint32_t key = bits ^ (all_if_negative | 0x80000000U);
  return value == value ? key : 0;
}

}  // namespace fathom::cuda
