#include "backend/cuda/launches.h"
#include "backend/cuda/paged.cuh"

// Sparse attention of one row and head a block, in the order of docs/arithmetic.md 5.
namespace fathom::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kGroups = kThreads / kLanes;
constexpr int kListBlock = 64;  // entries of a block of the list

struct AttentionShape {
  std::int64_t query_token = 0;  // strides
  std::int64_t query_head = 0;
  std::int64_t y_token = 0;
  std::int64_t y_head = 0;
  unsigned heads = 1;
  float scale = 1;
};

// Dynamic shared memory, in floats: the query [c + r], the scores of the list [count], the sums of
// its blocks. `count` is known on the device alone, so there is room for k.
template <class T>
__global__ void sparse_attention_kernel(const T* query,
                                        T* y,
                                        Rows<const std::int32_t> selected,
                                        const std::int32_t* counts,
                                        Places places,
                                        LatentCache cache,
                                        AttentionShape shape,
                                        int room) {
  extern __shared__ float shared[];
  __shared__ float warp_values[kThreads / 32];
  __shared__ float denominator;
  const std::int64_t token = blockIdx.x / shape.heads;
  const std::int64_t head = blockIdx.x % shape.heads;
  const int width = cache.latent + cache.rope;
  float* scores = shared + width;
  float* sums = scores + room;
  const int count = counts[token];
  const std::int32_t* list = selected.row(token);
  const T* own = query + token * shape.query_token + head * shape.query_head;
  T* to = y + token * shape.y_token + head * shape.y_head;
  if (count == 0) {  // padding
    for (int k = threadIdx.x; k < cache.latent; k += kThreads) to[k] = narrow<T>(0.0F);
    return;
  }
  for (int k = threadIdx.x; k < width; k += kThreads) shared[k] = widen(own[k]);
  __syncthreads();

  const int lane = threadIdx.x % kLanes;
  const int rounds = (count + kGroups - 1) / kGroups;  // all threads stay for the shuffles
  float largest = -INFINITY;
  for (int round = 0; round < rounds; ++round) {
    const int entry = round * kGroups + static_cast<int>(threadIdx.x) / kLanes;
    const int position = list[min(entry, count - 1)];
    const std::byte* record = cache.record(places.page(token, position), position);
    float dot = 0;
    for (int k = lane; k < width; k += kLanes) dot = fmaf(shared[k], cache.number(record, k), dot);
    const float score = reduce_lanes(dot) * shape.scale;
    if (entry < count && lane == 0) scores[entry] = score;
    largest = fmaxf(largest, score);
  }
  largest = warp_max(largest);
  if (threadIdx.x % 32 == 0) warp_values[threadIdx.x / 32] = largest;
  __syncthreads();
  for (int warp = 0; warp < kThreads / 32; ++warp) largest = fmaxf(largest, warp_values[warp]);

  for (int i = threadIdx.x; i < count; i += kThreads) scores[i] = exp_f32(scores[i] - largest);
  __syncthreads();
  const int blocks = (count + kListBlock - 1) / kListBlock;
  const int block_rounds = (blocks + kGroups - 1) / kGroups;
  for (int round = 0; round < block_rounds; ++round) {
    const int block = round * kGroups + static_cast<int>(threadIdx.x) / kLanes;
    float sum = 0;
    for (int i = block * kListBlock + lane; i < min((block + 1) * kListBlock, count); i += kLanes) {
      sum += scores[i];
    }
    sum = reduce_lanes(sum);
    if (lane == 0 && block < blocks) sums[block] = sum;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    float sum = 0;
    for (int block = 0; block < blocks; ++block) sum += sums[block];
    denominator = sum;
  }
  for (int i = threadIdx.x; i < count; i += kThreads) scores[i] = widen(narrow<T>(scores[i]));
  __syncthreads();

  for (int k = threadIdx.x; k < cache.latent; k += kThreads) {
    float total = 0;
    for (int begin = 0; begin < count; begin += kListBlock) {
      float sum = 0;
      for (int i = begin; i < min(begin + kListBlock, count); ++i) {
        const int position = list[i];
        const std::byte* record = cache.record(places.page(token, position), position);
        sum = fmaf(scores[i], cache.number(record, k), sum);
      }
      total += sum;
    }
    to[k] = narrow<T>(total / denominator);
  }
}

}  // namespace

void sparse_attention(CUstream_st* stream, const ops::SparseAttentionArgs& args) {
  const auto heads = static_cast<unsigned>(args.query.shape[1]);
  const unsigned blocks = blocks_of_rows(args.query.shape[0], heads);
  if (blocks == 0) return;
  const AttentionShape shape{args.query.stride[0],
                             args.query.stride[1],
                             args.y.stride[0],
                             args.y.stride[1],
                             heads,
                             args.scale};
  const std::int64_t k = args.selected.shape[1];
  const auto floats = args.query.shape[2] + k + ceil_div(k, kListBlock);
  const auto bytes = static_cast<unsigned>(floats * 4);
  with_type<float, BFloat16>(args.query.dtype, [&](auto type) {
    using T = decltype(type);
    cudaFuncSetAttribute(sparse_attention_kernel<T>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                         static_cast<int>(bytes));
    sparse_attention_kernel<T><<<blocks, kThreads, bytes, stream>>>(
        static_cast<const T*>(args.query.data), static_cast<T*>(args.y.data),
        Rows<const std::int32_t>(args.selected), static_cast<const std::int32_t*>(args.count.data),
        Places(args.tokens), LatentCache(args.cache), shape, static_cast<int>(k));
  });
}

}  // namespace fathom::cuda
