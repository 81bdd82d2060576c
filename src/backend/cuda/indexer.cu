#include <algorithm>

#include "backend/cuda/launches.h"
#include "backend/cuda/paged.cuh"

namespace fathom::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kGroups = kThreads / kLanes;  // half warps of a block: a key each
constexpr int kDigits = 256;
constexpr std::int64_t kPageBlocks = 64;  // of a token, at most: each takes every 64th page

template <class Q>
struct Queries {
  const Q* query = nullptr;
  const float* scales = nullptr;
  const float* weights = nullptr;
  std::int64_t token = 0;  // strides
  std::int64_t head = 0;
  std::int64_t scales_token = 0;
  std::int64_t weights_token = 0;
  int heads = 0;
};

// One token against some pages: a block. The query is kept as float32 in dynamic shared memory,
// with the weight of each head behind it. Positions are known on the device alone, so the grid does
// not follow them: blocks past a token's own end at once. `parts` blocks a token.
template <class Q>
__global__ void index_scores_kernel(Queries<Q> q,
                                    Places places,
                                    IndexCache cache,
                                    Rows<float> scores,
                                    unsigned parts) {
  extern __shared__ float shared[];
  const std::int64_t token = blockIdx.x / parts;
  const int visible = places.positions[token] + 1;
  const int begin = static_cast<int>(blockIdx.x % parts) * kPage;
  if (begin >= visible) return;
  const int d = cache.dim;
  float* weights = shared + q.heads * d;
  const float by_heads = 1.0F / sqrtf(static_cast<float>(q.heads));
  const float by_dim = 1.0F / sqrtf(static_cast<float>(d));
  for (int i = threadIdx.x; i < q.heads * d; i += kThreads) {
    shared[i] = widen(q.query[token * q.token + i / d * q.head + i % d]);
  }
  for (int h = threadIdx.x; h < q.heads; h += kThreads) {
    float weight = q.weights[token * q.weights_token + h] * by_heads;
    if constexpr (std::is_same_v<Q, Float8E4M3>) weight *= q.scales[token * q.scales_token + h];
    weights[h] = weight * by_dim;
  }
  __syncthreads();
  const int lane = threadIdx.x % kLanes;
  const int stride = static_cast<int>(parts) * kPage;
  for (int first = begin; first < visible; first += stride) {
    const int page = places.page(token, first);
    for (int slot = threadIdx.x / kLanes; slot < kPage; slot += kGroups) {
      const Q* key = cache.key<Q>(page, slot);
      float sum = 0;
      for (int h = 0; h < q.heads; ++h) {
        float dot = 0;
        for (int k = lane; k < d; k += kLanes) dot = fmaf(shared[h * d + k], widen(key[k]), dot);
        dot = reduce_lanes(dot);
        if (h % kLanes == lane) sum = fmaf(weights[h], fmaxf(dot, 0.0F), sum);
      }
      sum = reduce_lanes(sum);
      if (lane != 0 || first + slot >= visible) continue;
      if constexpr (std::is_same_v<Q, Float8E4M3>) sum *= *cache.scale(page, slot);
      scores.row(token)[first + slot] = sum;
    }
  }
}

// Radix selection, a block a token: eight bits of the boundary's key at a time by counting, then
// one pass in order that writes what is above it and the first of its equals.
__global__ void select_kernel(Rows<float> scores,
                              const std::int32_t* positions,
                              Rows<std::int32_t> selected,
                              std::int32_t* count,
                              int k) {
  __shared__ int counts[kDigits];
  __shared__ std::uint32_t found;
  __shared__ int wanted;
  __shared__ int above[kThreads];
  __shared__ int equal[kThreads];
  const std::int64_t token = blockIdx.x;
  const int visible = positions[token] + 1;
  const float* row = scores.row(token);
  std::int32_t* out = selected.row(token);
  const int taken = min(k, visible);
  for (int i = taken + threadIdx.x; i < k; i += kThreads) out[i] = -1;
  if (threadIdx.x == 0) count[token] = taken;
  if (visible <= k) {
    for (int i = threadIdx.x; i < visible; i += kThreads) out[i] = i;
    return;
  }
  if (threadIdx.x == 0) {
    found = 0;
    wanted = k;
  }
  std::uint32_t known = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    counts[threadIdx.x] = 0;
    __syncthreads();
    const std::uint32_t prefix = found;
    for (int i = threadIdx.x; i < visible; i += kThreads) {
      const std::uint32_t key = order_key(row[i]);
      if ((key & known) == prefix) atomicAdd(&counts[(key >> shift) & 0xFFU], 1);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      int digit = kDigits - 1;
      while (wanted > counts[digit]) wanted -= counts[digit--];
      found |= static_cast<std::uint32_t>(digit) << shift;
    }
    known |= 0xFFU << shift;
    __syncthreads();
  }
  // Every thread a run of positions: how many of them are above and at the boundary, then where the
  // run's own begin.
  const std::uint32_t boundary = found;
  const int each = (visible + kThreads - 1) / kThreads;
  const int begin = min(static_cast<int>(threadIdx.x) * each, visible);
  const int end = min(begin + each, visible);
  int own_above = 0;
  int own_equal = 0;
  for (int i = begin; i < end; ++i) {
    const std::uint32_t key = order_key(row[i]);
    own_above += key > boundary ? 1 : 0;
    own_equal += key == boundary ? 1 : 0;
  }
  above[threadIdx.x] = own_above;
  equal[threadIdx.x] = own_equal;
  __syncthreads();
  int before_above = 0;
  int before_equal = 0;
  for (int i = 0; i < static_cast<int>(threadIdx.x); ++i) {
    before_above += above[i];
    before_equal += equal[i];
  }
  int at = before_above + min(before_equal, wanted);
  for (int i = begin; i < end; ++i) {
    const std::uint32_t key = order_key(row[i]);
    if (key < boundary) continue;
    if (key == boundary && before_equal++ >= wanted) continue;
    out[at++] = i;
  }
}

}  // namespace

void index_scores(CUstream_st* stream, const ops::IndexScoresArgs& args) {
  const std::int64_t tokens = args.query.shape[0];
  if (tokens == 0) return;
  const std::int64_t heads = args.query.shape[1];
  const std::int64_t d = args.query.shape[2];
  const auto run = [&](auto type) {
    using Q = decltype(type);
    Queries<Q> q;
    q.query = static_cast<const Q*>(args.query.data);
    q.scales = static_cast<const float*>(args.query_scales.data);
    q.weights = static_cast<const float*>(args.weights.data);
    q.token = args.query.stride[0];
    q.head = args.query.stride[1];
    q.scales_token = args.query_scales.present() ? args.query_scales.stride[0] : 0;
    q.weights_token = args.weights.stride[0];
    q.heads = static_cast<int>(heads);
    const auto bytes = static_cast<unsigned>((heads * d + heads) * 4);
    cudaFuncSetAttribute(index_scores_kernel<Q>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                         static_cast<int>(bytes));
    const std::int64_t pages = ceil_div(args.scores.shape[1], std::int64_t{kPage});
    const std::int64_t parts = std::min(pages, kPageBlocks);
    if (parts == 0) return;
    index_scores_kernel<Q><<<blocks_of_rows(tokens, parts), kThreads, bytes, stream>>>(
        q, Places(args.tokens), IndexCache(args.cache), Rows<float>(args.scores),
        static_cast<unsigned>(parts));
  };
  if (args.query.dtype == DType::kF32) {
    run(float{});
  } else {
    run(Float8E4M3{});
  }
}

void select(CUstream_st* stream, const ops::SelectArgs& args) {
  const auto tokens = static_cast<unsigned>(args.selected.shape[0]);
  if (tokens == 0) return;
  select_kernel<<<tokens, kThreads, 0, stream>>>(
      Rows<float>(args.scores), static_cast<const std::int32_t*>(args.positions.data),
      Rows<std::int32_t>(args.selected), static_cast<std::int32_t*>(args.count.data),
      static_cast<int>(args.selected.shape[1]));
}

}  // namespace fathom::cuda
