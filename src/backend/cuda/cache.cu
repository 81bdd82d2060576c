#include "backend/cuda/launches.h"
#include "backend/cuda/paged.cuh"

// What is written to the caches and read back whole.
namespace fathom::cuda {

namespace {

constexpr int kThreads = 128;
constexpr int kMaxIndexDim = 1024;

template <class T>
__global__ void store_latent_kernel(Rows<T> latent,
                                    Rows<T> rope,
                                    Places places,
                                    LatentCache cache) {
  const std::int64_t token = blockIdx.x;
  const int position = places.positions[token];
  if (position < 0) return;  // padding
  std::byte* record = cache.record(places.page(token, position), position);
  const T* from = latent.row(token);
  if (cache.dtype == DType::kF8E4M3) {
    const int groups =
        (cache.latent + static_cast<int>(kScaleBlock) - 1) / static_cast<int>(kScaleBlock);
    const int lane = threadIdx.x % 32;
    for (int group = threadIdx.x / 32; group < groups; group += kThreads / 32) {
      const int first = group * static_cast<int>(kScaleBlock);
      const int last = min(first + static_cast<int>(kScaleBlock), cache.latent);
      float largest = 0;
      for (int k = first + lane; k < last; k += 32) largest = fmaxf(largest, fabsf(widen(from[k])));
      const float scale = group_scale(warp_max(largest), true);
      for (int k = first + lane; k < last; k += 32) {
        reinterpret_cast<Float8E4M3*>(record)[k] = narrow<Float8E4M3>(widen(from[k]) / scale);
      }
      if (lane == 0) reinterpret_cast<float*>(record + cache.scales_offset)[group] = scale;
    }
  } else {
    for (int k = threadIdx.x; k < cache.latent; k += kThreads) {
      if (cache.dtype == DType::kF32) {
        reinterpret_cast<float*>(record)[k] = widen(from[k]);
      } else {
        reinterpret_cast<BFloat16*>(record)[k] = narrow<BFloat16>(widen(from[k]));
      }
    }
  }
  for (int k = threadIdx.x; k < cache.rope; k += kThreads) {
    const float number = widen(rope.row(token)[k]);
    if (cache.dtype == DType::kF32) {
      reinterpret_cast<float*>(record + cache.rope_offset)[k] = number;
    } else {
      reinterpret_cast<BFloat16*>(record + cache.rope_offset)[k] = narrow<BFloat16>(number);
    }
  }
}

// Rotates the d numbers in `row` (one a thread, d a power of two), rounds them to bf16, and
// quantises them as one group. `reduced` has room for a number of every warp. Returns the scale.
__device__ float rotate_and_quantize(float* row, float* reduced, int d, Float8E4M3* values) {
  const int i = threadIdx.x;
  float own = i < d ? row[i] : 0.0F;
  for (int apart = 1; apart < d; apart *= 2) {
    __syncthreads();
    if (i < d) {
      const float other = row[i ^ apart];
      own = (i & apart) != 0 ? other - own : own + other;
    }
    __syncthreads();
    if (i < d) row[i] = own;
  }
  own = widen(narrow<BFloat16>(own * (1.0F / sqrtf(static_cast<float>(d)))));
  const float largest = warp_max(i < d ? fabsf(own) : 0.0F);
  if (i % 32 == 0) reduced[i / 32] = largest;
  __syncthreads();
  float all = 0;
  for (int warp = 0; warp < static_cast<int>(blockDim.x) / 32; ++warp)
    all = fmaxf(all, reduced[warp]);
  const float scale = group_scale(all, true);
  if (i < d) values[i] = narrow<Float8E4M3>(own / scale);
  return scale;
}

template <class T>
__global__ void store_index_key_kernel(Rows<T> keys, Places places, IndexCache cache) {
  __shared__ float row[kMaxIndexDim];
  __shared__ float reduced[kMaxIndexDim / 32];
  const std::int64_t token = blockIdx.x;
  const int position = places.positions[token];
  if (position < 0) return;  // padding
  const int page = places.page(token, position);
  const int i = threadIdx.x;
  if (i < cache.dim) row[i] = widen(keys.row(token)[i]);
  if (cache.dtype == DType::kF32) {
    if (i < cache.dim) cache.key<float>(page, position % kPage)[i] = row[i];
    return;
  }
  const float scale =
      rotate_and_quantize(row, reduced, cache.dim, cache.key<Float8E4M3>(page, position % kPage));
  if (i == 0) *cache.scale(page, position % kPage) = scale;
}

struct QueryStrides {
  std::int64_t query_token = 0;
  std::int64_t query_head = 0;
  std::int64_t values_token = 0;
  std::int64_t values_head = 0;
  std::int64_t scales_token = 0;
};

__global__ void quantize_index_query_kernel(const BFloat16* query,
                                            Float8E4M3* values,
                                            float* scales,
                                            QueryStrides stride,
                                            int d) {
  __shared__ float row[kMaxIndexDim];
  __shared__ float reduced[kMaxIndexDim / 32];
  const std::int64_t token = blockIdx.x;
  const std::int64_t head = blockIdx.y;
  const int i = threadIdx.x;
  if (i < d) row[i] = widen(query[token * stride.query_token + head * stride.query_head + i]);
  const float scale = rotate_and_quantize(
      row, reduced, d, values + token * stride.values_token + head * stride.values_head);
  if (i == 0) scales[token * stride.scales_token + head] = scale;
}

template <class T>
__global__ void load_latent_kernel(const std::int32_t* pages, LatentCache cache, Rows<T> y) {
  const int position = blockIdx.x;
  const std::byte* record = cache.record(pages[position / kPage], position);
  for (int k = threadIdx.x; k < cache.latent + cache.rope; k += kThreads) {
    y.row(position)[k] = narrow<T>(cache.number(record, k));
  }
}

// A thread a number, whole warps.
unsigned threads_for(std::int64_t d) {
  FATHOM_CHECK(d <= kMaxIndexDim);
  return static_cast<unsigned>(ceil_div(d, 32) * 32);
}

}  // namespace

void store_latent(CUstream_st* stream, const ops::StoreLatentArgs& args) {
  const auto tokens = static_cast<unsigned>(args.latent.shape[0]);
  if (tokens == 0) return;
  with_type<float, BFloat16>(args.latent.dtype, [&](auto type) {
    using T = decltype(type);
    store_latent_kernel<T><<<tokens, kThreads, 0, stream>>>(
        Rows<T>(args.latent), Rows<T>(args.rope), Places(args.tokens), LatentCache(args.cache));
  });
}

void store_index_key(CUstream_st* stream, const ops::StoreIndexKeyArgs& args) {
  const auto tokens = static_cast<unsigned>(args.key.shape[0]);
  if (tokens == 0) return;
  with_type<float, BFloat16>(args.key.dtype, [&](auto type) {
    using T = decltype(type);
    store_index_key_kernel<T><<<tokens, threads_for(args.key.shape[1]), 0, stream>>>(
        Rows<T>(args.key), Places(args.tokens), IndexCache(args.cache));
  });
}

void quantize_index_query(CUstream_st* stream, const ops::QuantizeIndexQueryArgs& args) {
  if (args.query.shape[0] == 0) return;
  const QueryStrides stride{args.query.stride[0], args.query.stride[1], args.values.stride[0],
                            args.values.stride[1], args.scales.stride[0]};
  const dim3 grid(static_cast<unsigned>(args.query.shape[0]),
                  static_cast<unsigned>(args.query.shape[1]));
  quantize_index_query_kernel<<<grid, threads_for(args.query.shape[2]), 0, stream>>>(
      static_cast<const BFloat16*>(args.query.data), static_cast<Float8E4M3*>(args.values.data),
      static_cast<float*>(args.scales.data), stride, static_cast<int>(args.query.shape[2]));
}

void load_latent(CUstream_st* stream, const ops::LoadLatentArgs& args) {
  const auto positions = static_cast<unsigned>(args.y.shape[0]);
  if (positions == 0) return;
  const auto* pages = static_cast<const std::int32_t*>(args.page_table.data) +
                      args.sequence * args.page_table.stride[0];
  with_type<float, BFloat16>(args.y.dtype, [&](auto type) {
    using T = decltype(type);
    load_latent_kernel<T>
        <<<positions, kThreads, 0, stream>>>(pages, LatentCache(args.cache), Rows<T>(args.y));
  });
}

}  // namespace fathom::cuda
