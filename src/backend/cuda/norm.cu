#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/launches.h"
#include "backend/cuda/numeric.cuh"

// A row a block. The sixteen lanes of a sum are half a warp, so one warp makes the statistics (both
// of its halves the same ones) and all threads the results.
namespace fathom::cuda {

namespace {

constexpr int kThreads = 256;

// `residual` (optional): the sum with it is what is normed, and is written there.
template <class T, class W>
__global__ void rms_norm_kernel(Rows<T> x,
                                Rows<T> residual,
                                const W* w,
                                Rows<T> y,
                                int hidden,
                                float epsilon) {
  __shared__ float inverse;
  const T* from = x.row(blockIdx.x);
  T* sum_row = residual.data == nullptr ? nullptr : residual.row(blockIdx.x);
  const auto value = [&](int k) {
    return sum_row == nullptr ? widen(from[k]) : widen(from[k]) + widen(sum_row[k]);
  };
  if (threadIdx.x < 32) {
    float lane = 0;
    for (int k = threadIdx.x % kLanes; k < hidden; k += kLanes) {
      const float v = value(k);
      lane = fmaf(v, v, lane);
    }
    const float q = reduce_lanes(lane);
    if (threadIdx.x == 0) inverse = 1.0F / sqrtf(q / static_cast<float>(hidden) + epsilon);
  }
  __syncthreads();
  for (int k = threadIdx.x; k < hidden; k += kThreads) {
    const float v = value(k);
    if (sum_row != nullptr) sum_row[k] = narrow<T>(v);
    y.row(blockIdx.x)[k] = narrow<T>(v * inverse * widen(w[k]));
  }
}

template <class T, class W>
__global__ void layer_norm_kernel(Rows<T> x,
                                  const W* w,
                                  const W* b,
                                  Rows<T> y,
                                  int width,
                                  float epsilon) {
  __shared__ float mean;
  __shared__ float inverse;
  const T* from = x.row(blockIdx.x);
  if (threadIdx.x < 32) {
    float lane = 0;
    for (int k = threadIdx.x % kLanes; k < width; k += kLanes) lane += widen(from[k]);
    const float m = reduce_lanes(lane) / static_cast<float>(width);
    lane = 0;
    for (int k = threadIdx.x % kLanes; k < width; k += kLanes) {
      const float z = widen(from[k]) - m;
      lane = fmaf(z, z, lane);
    }
    const float variance = reduce_lanes(lane) / static_cast<float>(width);
    if (threadIdx.x == 0) {
      mean = m;
      inverse = 1.0F / sqrtf(variance + epsilon);
    }
  }
  __syncthreads();
  for (int k = threadIdx.x; k < width; k += kThreads) {
    const float z = widen(from[k]) - mean;
    y.row(blockIdx.x)[k] = narrow<T>(z * inverse * widen(w[k]) + widen(b[k]));
  }
}

void norm(CUstream_st* stream,
          const TensorView& x,
          const TensorView& residual,
          const TensorView& w,
          const TensorView& y,
          float epsilon) {
  const auto rows = static_cast<unsigned>(x.shape[0]);
  if (rows == 0) return;
  with_type<float, BFloat16>(x.dtype, [&](auto type) {
    with_type<float, BFloat16, Float16>(w.dtype, [&](auto weight) {
      using T = decltype(type);
      using W = decltype(weight);
      rms_norm_kernel<T, W><<<rows, kThreads, 0, stream>>>(
          Rows<T>(x), residual.present() ? Rows<T>(residual) : Rows<T>(),
          static_cast<const W*>(w.data), Rows<T>(y), static_cast<int>(x.shape[1]), epsilon);
    });
  });
}

}  // namespace

void rms_norm(CUstream_st* stream, const ops::RmsNormArgs& args) {
  norm(stream, args.x, {}, args.w, args.y, args.epsilon);
}

void add_rms_norm(CUstream_st* stream, const ops::AddRmsNormArgs& args) {
  norm(stream, args.x, args.residual, args.w, args.y, args.epsilon);
}

void layer_norm(CUstream_st* stream, const ops::LayerNormArgs& args) {
  const auto rows = static_cast<unsigned>(args.x.shape[0]);
  if (rows == 0) return;
  FATHOM_CHECK(args.w.dtype == args.b.dtype);
  with_type<float, BFloat16>(args.x.dtype, [&](auto type) {
    with_type<float, BFloat16, Float16>(args.w.dtype, [&](auto weight) {
      using T = decltype(type);
      using W = decltype(weight);
      layer_norm_kernel<T, W><<<rows, kThreads, 0, stream>>>(
          Rows<T>(args.x), static_cast<const W*>(args.w.data), static_cast<const W*>(args.b.data),
          Rows<T>(args.y), static_cast<int>(args.x.shape[1]), args.epsilon);
    });
  });
}

}  // namespace fathom::cuda
