#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/launches.h"
#include "backend/cuda/numeric.cuh"

// Attention with keys and values of each head, in the order of docs/arithmetic.md 5.
namespace fathom::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kWarp = 32;
constexpr int kGroups = kThreads / kLanes;
constexpr int kListBlock = 64;  // entries of a block of the list

// [rows, heads, width] as a kernel takes it.
template <class T>
struct Heads {
  T* data = nullptr;
  std::int64_t row = 0;  // strides
  std::int64_t head = 0;

  explicit Heads(const TensorView& view)
      : data(static_cast<T*>(view.data)), row(view.stride[0]), head(view.stride[1]) {}
  __device__ T* at(std::int64_t i, std::int64_t h) const { return data + i * row + h * head; }
};

template <class T>
struct Expanded {
  Heads<const T> query;
  Heads<const T> key;
  Rows<const T> key_rope;
  Heads<const T> value;
  Heads<T> y;
  Rows<const std::int32_t> selected;
  const std::int32_t* counts = nullptr;
  int plain = 0;    // n
  int rotated = 0;  // r
  int values = 0;   // v
  int room = 0;     // k
  unsigned heads = 1;
  float scale = 1;

  explicit Expanded(const ops::ExpandedAttentionArgs& args)
      : query(args.query),
        key(args.key),
        key_rope(args.key_rope),
        value(args.value),
        y(args.y),
        selected(args.selected),
        counts(static_cast<const std::int32_t*>(args.count.data)),
        plain(static_cast<int>(args.key.shape[2])),
        rotated(static_cast<int>(args.key_rope.shape[1])),
        values(static_cast<int>(args.value.shape[2])),
        room(static_cast<int>(args.selected.shape[1])),
        heads(static_cast<unsigned>(args.query.shape[1])),
        scale(args.scale) {}
};

// One token's list and one head.
struct Task {
  const std::int32_t* list = nullptr;
  int count = 0;
  std::int64_t head = 0;
};

// scores[i] of the whole list; returns the largest. Half a warp takes an entry.
template <class T>
__device__ float score_list(const Expanded<T>& x,
                            const Task& task,
                            const float* query,
                            float* scores) {
  __shared__ float of_warp[kThreads / kWarp];
  const int lane = threadIdx.x % kLanes;
  const int rounds = (task.count + kGroups - 1) / kGroups;  // all threads stay for the shuffles
  float largest = -INFINITY;
  for (int round = 0; round < rounds; ++round) {
    const int entry = round * kGroups + static_cast<int>(threadIdx.x) / kLanes;
    const int position = task.list[min(entry, task.count - 1)];
    const T* key = x.key.at(position, task.head);
    const T* key_rope = x.key_rope.row(position);
    float dot = 0;
    for (int k = lane; k < x.plain + x.rotated; k += kLanes) {
      const T number = k < x.plain ? key[k] : key_rope[k - x.plain];
      dot = fmaf(query[k], widen(number), dot);
    }
    const float score = reduce_lanes(dot) * x.scale;
    if (entry < task.count && lane == 0) scores[entry] = score;
    largest = fmaxf(largest, score);
  }
  largest = warp_max(largest);
  if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = largest;
  __syncthreads();
  for (const float other : of_warp) largest = fmaxf(largest, other);
  return largest;
}

// The sum of p over the list: lanes and tree inside a block of it, then block after block. `sums`
// has room for the blocks.
__device__ float sum_list(const float* p, int count, float* sums) {
  const int lane = threadIdx.x % kLanes;
  const int blocks = (count + kListBlock - 1) / kListBlock;
  const int rounds = (blocks + kGroups - 1) / kGroups;
  for (int round = 0; round < rounds; ++round) {
    const int block = round * kGroups + static_cast<int>(threadIdx.x) / kLanes;
    const int end = min((block + 1) * kListBlock, count);
    float sum = 0;
    for (int i = block * kListBlock + lane; i < end; i += kLanes) sum += p[i];
    sum = reduce_lanes(sum);
    if (lane == 0 && block < blocks) sums[block] = sum;
  }
  __syncthreads();
  float sum = 0;
  for (int block = 0; block < blocks; ++block) sum += sums[block];
  return sum;
}

// Number k of the value sum, before its division.
template <class T>
__device__ float add_values(const Expanded<T>& x, const Task& task, const float* p, int k) {
  float total = 0;
  for (int begin = 0; begin < task.count; begin += kListBlock) {
    const int end = min(begin + kListBlock, task.count);
    float sum = 0;
    for (int i = begin; i < end; ++i) {
      sum = fmaf(p[i], widen(x.value.at(task.list[i], task.head)[k]), sum);
    }
    total += sum;
  }
  return total;
}

// A block a token and head. Dynamic shared memory, in floats: the query [n + r], the scores of the
// list and the sums of its blocks. `count` is known on the device alone, so there is room for k.
template <class T>
__global__ void expanded_attention_kernel(Expanded<T> x) {
  extern __shared__ float shared[];
  const std::int64_t token = blockIdx.x / x.heads;
  const Task task{x.selected.row(token), x.counts[token], blockIdx.x % x.heads};
  T* y = x.y.at(token, task.head);
  if (task.count == 0) {  // padding
    for (int k = threadIdx.x; k < x.values; k += kThreads) y[k] = narrow<T>(0.0F);
    return;
  }
  const int width = x.plain + x.rotated;
  float* p = shared + width;
  const T* query = x.query.at(token, task.head);
  for (int k = threadIdx.x; k < width; k += kThreads) shared[k] = widen(query[k]);
  __syncthreads();
  const float largest = score_list(x, task, shared, p);
  for (int i = threadIdx.x; i < task.count; i += kThreads) p[i] = exp_f32(p[i] - largest);
  __syncthreads();
  const float denominator = sum_list(p, task.count, p + x.room);
  for (int i = threadIdx.x; i < task.count; i += kThreads) p[i] = widen(narrow<T>(p[i]));
  __syncthreads();
  for (int k = threadIdx.x; k < x.values; k += kThreads) {
    y[k] = narrow<T>(add_values(x, task, p, k) / denominator);
  }
}

}  // namespace

void expanded_attention(CUstream_st* stream, const ops::ExpandedAttentionArgs& args) {
  const unsigned blocks = blocks_of_rows(args.query.shape[0], args.query.shape[1]);
  if (blocks == 0) return;
  const std::int64_t k = args.selected.shape[1];
  const std::int64_t floats = args.query.shape[2] + k + ceil_div(k, kListBlock);
  const auto bytes = static_cast<unsigned>(floats * std::int64_t{sizeof(float)});
  with_type<float, BFloat16>(args.query.dtype, [&](auto type) {
    using T = decltype(type);
    cudaFuncSetAttribute(expanded_attention_kernel<T>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                         static_cast<int>(bytes));
    expanded_attention_kernel<T><<<blocks, kThreads, bytes, stream>>>(Expanded<T>(args));
  });
}

}  // namespace fathom::cuda
