#include <algorithm>

#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/launches.h"
#include "backend/cuda/numeric.cuh"

// Products of any shape, to the bit of docs/arithmetic.md 1: half a warp makes one output column
// for a few rows, a thread a lane.
namespace fathom::cuda {

namespace {

constexpr int kThreads = 128;
constexpr int kColumns = kThreads / kLanes;  // of a block
constexpr int kMaxExperts = 512;
constexpr int kMostRows = 8;  // of a block at a time

template <class X, class W, class Y>
struct Product {
  Rows<const X> x;
  Rows<const float> x_scales;
  Rows<const W> w;
  Rows<const float> w_scales;
  Rows<Y> y;
  int in = 0;
  int out = 0;
};

// Rows [first, last) of one column. All threads of the warp take part, also those without a column.
template <int kRows, class X, class W, class Y>
__device__ void product_rows(const Product<X, W, Y>& p, int first, int last, int column) {
  constexpr bool kScaled = std::is_same_v<W, Float8E4M3>;
  constexpr bool kInputScaled = std::is_same_v<X, Float8E4M3>;
  const int lane = threadIdx.x % kLanes;
  const int own = min(column, p.out - 1);
  const W* weights = p.w.row(own);
  float lanes[kRows] = {};
  float totals[kRows] = {};
  const int block = kScaled ? static_cast<int>(kScaleBlock) : p.in;
  for (int begin = 0; begin < p.in; begin += block) {
    const int end = min(begin + block, p.in);
    for (int k = begin + lane; k < end; k += kLanes) {
      const float weight = widen(weights[k]);
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        const int row = min(first + i, last - 1);
        lanes[i] = fmaf(widen(p.x.row(row)[k]), weight, lanes[i]);
      }
    }
    if constexpr (kScaled) {
      const int b = begin / static_cast<int>(kScaleBlock);
      const float scale = p.w_scales.row(own / static_cast<int>(kScaleBlock))[b];
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        const int row = min(first + i, last - 1);
        float factor = scale;
        if constexpr (kInputScaled) factor = p.x_scales.row(row)[b] * scale;
        totals[i] = fmaf(lanes[i], factor, totals[i]);
        lanes[i] = 0;
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const float sum = reduce_lanes(kScaled ? totals[i] : lanes[i]);
    if (lane == 0 && column < p.out && first + i < last) {
      p.y.row(first + i)[column] = narrow<Y>(sum);
    }
  }
}

// Columns first, then the next kRows rows: blocks_of_rows().
template <int kRows, class X, class W, class Y>
__device__ void product_block(const Product<X, W, Y>& p, int rows) {
  const unsigned parts = (static_cast<unsigned>(p.out) + kColumns - 1) / kColumns;
  const int column = static_cast<int>(blockIdx.x % parts * kColumns + threadIdx.x / kLanes);
  const int first = static_cast<int>(blockIdx.x / parts) * kRows;
  product_rows<kRows>(p, first, min(first + kRows, rows), column);
}

template <int kRows, class X, class W, class Y>
__global__ void linear_kernel(Product<X, W, Y> p, int rows) {
  product_block<kRows>(p, rows);
}

__global__ void transpose_scales_kernel(Rows<const float> scales, int rows, int groups, float* to) {
  const int row = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (row >= rows) return;
  for (int g = blockIdx.y; g < groups; g += gridDim.y) to[g * rows + row] = scales.row(row)[g];
}

struct HeadStrides {
  std::int64_t x = 0;
  std::int64_t w = 0;
  std::int64_t y = 0;
};

template <int kRows, class X, class W, class Y>
__global__ void head_linear_kernel(Product<X, W, Y> p, HeadStrides head, int rows) {
  p.x.data += blockIdx.y * head.x;
  p.w.data += blockIdx.y * head.w;
  p.y.data += blockIdx.y * head.y;
  product_block<kRows>(p, rows);
}

// The experts' matrices, by value: as kernel arguments they need no copy of their own.
struct Experts {
  const void* values[kMaxExperts];
  const float* scales[kMaxExperts];
};

// How many rows an expert has is known on the device alone, so here the block decides for how many
// it multiplies.
template <class X, class W, class Y>
__global__ void grouped_linear_kernel(Product<X, W, Y> p,
                                      const __grid_constant__ Experts experts,
                                      const std::int32_t* offsets) {
  const int expert = blockIdx.y;
  const int last = offsets[expert + 1];
  p.w.data = static_cast<const W*>(experts.values[expert]);
  p.w_scales.data = experts.scales[expert];
  const int column = blockIdx.x * kColumns + threadIdx.x / kLanes;
  const int stride = static_cast<int>(gridDim.z) * kMostRows;
  for (int first = offsets[expert] + blockIdx.z * kMostRows; first < last; first += stride) {
    const int end = min(first + kMostRows, last);
    const int rows = end - first;
    if (rows == 1) {
      product_rows<1>(p, first, end, column);
    } else if (rows == 2) {
      product_rows<2>(p, first, end, column);
    } else if (rows <= 4) {
      product_rows<4>(p, first, end, column);
    } else {
      product_rows<kMostRows>(p, first, end, column);
    }
  }
}

// Calls body(x, w, y) with values of the three types of a product.
template <class Body>
void with_product_types(DType x, DType w, DType y, const Body& body) {
  with_type<float, BFloat16>(y, [&](auto out) {
    if (x == DType::kF8E4M3) {
      FATHOM_CHECK(w == DType::kF8E4M3);
      body(Float8E4M3{}, Float8E4M3{}, out);
      return;
    }
    with_type<float, BFloat16>(x, [&](auto in) {
      with_type<float, BFloat16, Float16, Float8E4M3>(w,
                                                      [&](auto weight) { body(in, weight, out); });
    });
  });
}

// Calls body(constant) with for how many rows a block multiplies when there are `rows` in all: no
// more than it has to, since a row that is not there costs as much as one that is.
template <class Body>
void with_rows_of_block(std::int64_t rows, const Body& body) {
  if (rows == 1) return body(std::integral_constant<int, 1>{});
  if (rows == 2) return body(std::integral_constant<int, 2>{});
  if (rows <= 4) return body(std::integral_constant<int, 4>{});
  body(std::integral_constant<int, kMostRows>{});
}

template <class X, class W, class Y>
Product<X, W, Y> product_of(const ops::LinearInput& x, const WeightView& w, const TensorView& y) {
  Product<X, W, Y> p;
  p.x = Rows<const X>(x.values);
  if (x.scales.present()) p.x_scales = Rows<const float>(x.scales);
  p.w = Rows<const W>(w.values);
  if (w.scales.present()) p.w_scales = Rows<const float>(w.scales);
  p.y = Rows<Y>(y);
  p.in = static_cast<int>(w.values.shape[1]);
  p.out = static_cast<int>(w.values.shape[0]);
  return p;
}

}  // namespace

void linear(CUstream_st* stream, const ops::LinearArgs& args) {
  const std::int64_t rows = args.y.shape[0];
  if (rows == 0 || args.y.shape[1] == 0) return;
  with_product_types(
      args.x.values.dtype, args.w.values.dtype, args.y.dtype, [&](auto x, auto w, auto y) {
        const auto p = product_of<decltype(x), decltype(w), decltype(y)>(args.x, args.w, args.y);
        with_rows_of_block(rows, [&](auto of_block) {
          constexpr int kRows = decltype(of_block)::value;
          const unsigned blocks =
              blocks_of_rows(blocks_for(rows, kRows), blocks_for(p.out, kColumns));
          linear_kernel<kRows><<<blocks, kThreads, 0, stream>>>(p, static_cast<int>(rows));
        });
      });
}

void transpose_scales(CUstream_st* stream, const TensorView& scales, std::int64_t rows, float* to) {
  constexpr std::int64_t kMostBlocks = 64;
  const std::int64_t groups = scales.shape[1];
  const dim3 grid(blocks_for(rows, kThreads), static_cast<unsigned>(std::min(groups, kMostBlocks)));
  transpose_scales_kernel<<<grid, kThreads, 0, stream>>>(
      Rows<const float>(scales), static_cast<int>(rows), static_cast<int>(groups), to);
}

void head_linear(CUstream_st* stream, const ops::HeadLinearArgs& args) {
  const std::int64_t rows = args.y.shape[0];
  if (rows == 0) return;
  with_type<float, BFloat16>(args.x.dtype, [&](auto x) {
    with_type<float, BFloat16>(args.w.dtype, [&](auto w) {
      with_type<float, BFloat16>(args.y.dtype, [&](auto y) {
        Product<decltype(x), decltype(w), decltype(y)> p;
        p.x = Rows<const decltype(x)>(args.x);
        p.w.data = static_cast<const decltype(w)*>(args.w.data);
        p.w.stride = args.w.stride[1];
        p.y = Rows<decltype(y)>(args.y);
        p.in = static_cast<int>(args.w.shape[2]);
        p.out = static_cast<int>(args.w.shape[1]);
        const HeadStrides head{args.x.stride[1], args.w.stride[0], args.y.stride[1]};
        with_rows_of_block(rows, [&](auto of_block) {
          constexpr int kRows = decltype(of_block)::value;
          const dim3 grid(blocks_of_rows(blocks_for(rows, kRows), blocks_for(p.out, kColumns)),
                          static_cast<unsigned>(args.w.shape[0]));
          head_linear_kernel<kRows><<<grid, kThreads, 0, stream>>>(p, head, static_cast<int>(rows));
        });
      });
    });
  });
}

void grouped_linear(CUstream_st* stream, const ops::GroupedLinearArgs& args) {
  const std::int64_t rows = args.y.shape[0];
  if (rows == 0 || args.w.empty()) return;
  FATHOM_CHECK(args.w.size() <= kMaxExperts);
  Experts experts{};
  for (std::size_t e = 0; e < args.w.size(); ++e) {
    experts.values[e] = args.w[e].values.data;
    experts.scales[e] = static_cast<const float*>(args.w[e].scales.data);
  }
  with_product_types(
      args.x.values.dtype, args.w[0].values.dtype, args.y.dtype, [&](auto x, auto w, auto y) {
        const auto p = product_of<decltype(x), decltype(w), decltype(y)>(args.x, args.w[0], args.y);
        // Some blocks an expert, so that one with many rows is not one block's work.
        const unsigned parts = rows < 64 ? 1 : 4;
        const dim3 grid(blocks_for(p.out, kColumns), static_cast<unsigned>(args.w.size()), parts);
        grouped_linear_kernel<<<grid, kThreads, 0, stream>>>(
            p, experts, static_cast<const std::int32_t*>(args.offsets.data));
      });
}

}  // namespace fathom::cuda
