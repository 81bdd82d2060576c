#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/launches.h"
#include "backend/cuda/logits.cuh"
#include "backend/cuda/numeric.cuh"

namespace fathom::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kArgmaxThreads = 1024;

template <class From, class To>
__global__ void embed_kernel(const std::int32_t* ids, Rows<From> table, Rows<To> y, int hidden) {
  const std::int64_t token = blockIdx.x;
  const From* from = table.row(ids[token]);
  for (int h = threadIdx.x; h < hidden; h += blockDim.x) {
    y.row(token)[h] = narrow<To>(widen(from[h]));
  }
}

template <class T>
__global__ void gather_kernel(const std::int32_t* numbers, Rows<T> x, Rows<T> y, int width) {
  const std::int64_t row = blockIdx.x;
  const T* from = x.row(numbers[row]);
  for (int h = threadIdx.x; h < width; h += blockDim.x) y.row(row)[h] = from[h];
}

template <class T>
__global__ void silu_mul_kernel(Rows<T> gate, Rows<T> up, Rows<T> y, int width) {
  const std::int64_t row = blockIdx.x;
  for (int i = blockIdx.y * blockDim.x + threadIdx.x; i < width; i += gridDim.y * blockDim.x) {
    const float z = widen(gate.row(row)[i]);
    y.row(row)[i] = narrow<T>(z / (1.0F + exp_f32(-z)) * widen(up.row(row)[i]));
  }
}

struct RopeShape {
  std::int64_t x_token = 0;
  std::int64_t x_head = 0;
  std::int64_t y_token = 0;
  std::int64_t y_head = 0;
  std::int64_t table = 0;  // stride of cos and sin
  int heads = 0;
  int half = 0;
  bool interleaved = true;
};

template <class T>
__global__ void rope_kernel(const T* x,
                            T* y,
                            const std::int32_t* positions,
                            const float* cos,
                            const float* sin,
                            RopeShape shape) {
  const std::int64_t token = blockIdx.x;
  if (positions[token] < 0) return;  // padding
  const std::int64_t at = positions[token] * shape.table;
  for (int i = threadIdx.x; i < shape.heads * shape.half; i += blockDim.x) {
    const int head = i / shape.half;
    const int pair = i % shape.half;
    const int first = shape.interleaved ? 2 * pair : pair;
    const int second = shape.interleaved ? 2 * pair + 1 : pair + shape.half;
    const T* from = x + token * shape.x_token + head * shape.x_head;
    T* to = y + token * shape.y_token + head * shape.y_head;
    const float a = widen(from[first]);
    const float b = widen(from[second]);
    const float c = cos[at + pair];
    const float s = sin[at + pair];
    to[first] = narrow<T>(a * c - b * s);
    to[second] = narrow<T>(a * s + b * c);
  }
}

__global__ void fill_ids_kernel(std::int32_t* ids, const std::int32_t* tokens, int rows) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < rows && ids[i] < 0) ids[i] = tokens[-1 - ids[i]];
}

__global__ void scatter_kernel(const std::int32_t* index,
                               const std::int32_t* values,
                               std::int32_t* table,
                               int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) table[index[i]] = values[i];
}

// A block a row: the largest logit, the first that has it and the log of the sum.
__global__ void __launch_bounds__(kArgmaxThreads)
    argmax_kernel(Rows<const float> logits, std::int32_t* token, float* log_sum, int vocab) {
  const float* row = logits.row(blockIdx.x);
  const Softness softness{largest_of(row, vocab), 1.0F};
  const int first = first_equal(row, vocab, softness.top);
  if (threadIdx.x == 0) token[blockIdx.x] = first;
  if (log_sum == nullptr) return;
  const RowSoftmax softmax = softmax_of(row, vocab, softness);
  if (threadIdx.x != 0) return;
  log_sum[blockIdx.x] = softmax.defined ? static_cast<float>(softmax.top + softmax.log_sum) : kNan;
}

template <class T>
__global__ void quantize_kernel(Rows<T> x,
                                Rows<Float8E4M3> values,
                                Rows<float> scales,
                                int width,
                                bool ue8m0) {
  const std::int64_t row = blockIdx.x;
  const int group = blockIdx.y * (blockDim.x / 32) + threadIdx.x / 32;
  const int first = group * static_cast<int>(kScaleBlock);
  if (first >= width) return;
  const int last = min(first + static_cast<int>(kScaleBlock), width);
  const int lane = threadIdx.x % 32;
  float largest = 0;
  for (int i = first + lane; i < last; i += 32) {
    largest = fmaxf(largest, fabsf(widen(x.row(row)[i])));
  }
  const float scale = group_scale(warp_max(largest), ue8m0);
  for (int i = first + lane; i < last; i += 32) {
    values.row(row)[i] = narrow<Float8E4M3>(widen(x.row(row)[i]) / scale);
  }
  if (lane == 0) scales.row(row)[group] = scale;
}

}  // namespace

void embed(CUstream_st* stream, const ops::EmbedArgs& args) {
  const auto tokens = static_cast<unsigned>(args.y.shape[0]);
  if (tokens == 0) return;
  with_type<float, BFloat16, Float16>(args.table.dtype, [&](auto from) {
    with_type<float, BFloat16>(args.y.dtype, [&](auto to) {
      embed_kernel<decltype(from), decltype(to)><<<tokens, kThreads, 0, stream>>>(
          static_cast<const std::int32_t*>(args.ids.data), Rows<decltype(from)>(args.table),
          Rows<decltype(to)>(args.y), static_cast<int>(args.y.shape[1]));
    });
  });
}

void gather_rows(CUstream_st* stream, const ops::GatherRowsArgs& args) {
  const auto count = static_cast<unsigned>(args.y.shape[0]);
  if (count == 0) return;
  with_type<float, BFloat16>(args.x.dtype, [&](auto type) {
    using T = decltype(type);
    gather_kernel<T><<<count, kThreads, 0, stream>>>(
        static_cast<const std::int32_t*>(args.rows.data), Rows<T>(args.x), Rows<T>(args.y),
        static_cast<int>(args.y.shape[1]));
  });
}

void silu_mul(CUstream_st* stream, const ops::SiluMulArgs& args) {
  if (args.y.shape[0] == 0) return;
  const dim3 grid(static_cast<unsigned>(args.y.shape[0]), blocks_for(args.y.shape[1], kThreads));
  with_type<float, BFloat16>(args.y.dtype, [&](auto type) {
    using T = decltype(type);
    silu_mul_kernel<T><<<grid, kThreads, 0, stream>>>(
        Rows<T>(args.gate), Rows<T>(args.up), Rows<T>(args.y), static_cast<int>(args.y.shape[1]));
  });
}

void rope(CUstream_st* stream, const ops::RopeArgs& args) {
  const auto tokens = static_cast<unsigned>(args.x.shape[0]);
  if (tokens == 0) return;
  RopeShape shape;
  shape.x_token = args.x.stride[0];
  shape.x_head = args.x.stride[1];
  shape.y_token = args.y.stride[0];
  shape.y_head = args.y.stride[1];
  shape.table = args.cos.stride[0];
  shape.heads = static_cast<int>(args.x.shape[1]);
  shape.half = static_cast<int>(args.x.shape[2] / 2);
  shape.interleaved = args.pairing == ops::RopePairing::kInterleaved;
  with_type<float, BFloat16>(args.x.dtype, [&](auto type) {
    using T = decltype(type);
    rope_kernel<T><<<tokens, kThreads, 0, stream>>>(
        static_cast<const T*>(args.x.data), static_cast<T*>(args.y.data),
        static_cast<const std::int32_t*>(args.positions.data),
        static_cast<const float*>(args.cos.data), static_cast<const float*>(args.sin.data), shape);
  });
}

void fill_ids(CUstream_st* stream, const ops::FillIdsArgs& args) {
  const std::int64_t rows = args.ids.shape[0];
  if (rows == 0) return;
  fill_ids_kernel<<<blocks_for(rows, kThreads), kThreads, 0, stream>>>(
      static_cast<std::int32_t*>(args.ids.data), static_cast<const std::int32_t*>(args.tokens.data),
      static_cast<int>(rows));
}

void scatter(CUstream_st* stream, const ops::ScatterArgs& args) {
  const std::int64_t count = args.index.shape[0];
  if (count == 0) return;
  scatter_kernel<<<blocks_for(count, kThreads), kThreads, 0, stream>>>(
      static_cast<const std::int32_t*>(args.index.data),
      static_cast<const std::int32_t*>(args.values.data),
      static_cast<std::int32_t*>(args.table.data), static_cast<int>(count));
}

void argmax(CUstream_st* stream, const ops::ArgmaxArgs& args) {
  const auto rows = static_cast<unsigned>(args.logits.shape[0]);
  if (rows == 0) return;
  argmax_kernel<<<rows, kArgmaxThreads, 0, stream>>>(
      Rows<const float>(args.logits), static_cast<std::int32_t*>(args.token.data),
      static_cast<float*>(args.log_sum.data), static_cast<int>(args.logits.shape[1]));
}

void quantize(CUstream_st* stream, const ops::QuantizeArgs& args) {
  if (args.x.shape[0] == 0) return;
  const std::int64_t groups = ceil_div(args.x.shape[1], kScaleBlock);
  const dim3 grid(static_cast<unsigned>(args.x.shape[0]), blocks_for(groups, kThreads / 32));
  with_type<float, BFloat16>(args.x.dtype, [&](auto type) {
    using T = decltype(type);
    quantize_kernel<T><<<grid, kThreads, 0, stream>>>(
        Rows<T>(args.x), Rows<Float8E4M3>(args.values), Rows<float>(args.scales),
        static_cast<int>(args.x.shape[1]), args.ue8m0);
  });
}

}  // namespace fathom::cuda
