#include <cub/block/block_reduce.cuh>
#include <cub/block/block_scan.cuh>

#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/launches.h"
#include "backend/cuda/numeric.cuh"

namespace fathom::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kMaxExperts = 512;
constexpr int kMaxGroups = 64;
constexpr std::uint32_t kTaken = 0xFFFFFFFFU;  // the order of nothing that can be chosen

struct GateShape {
  int experts = 0;
  int chosen = 0;
  int groups = 1;
  int kept_groups = 1;
  bool normalize = true;
  float scale = 1;
};

// The place of the largest key, the first of equals; kTaken ones are left out.
__device__ int find_largest(const std::uint32_t* keys, int n) {
  int best = -1;
  for (int i = 0; i < n; ++i) {
    if (keys[i] != kTaken && (best < 0 || keys[i] > keys[best])) best = i;
  }
  return best;
}

__device__ void keep_best_groups(const float* b, std::uint32_t* keys, const GateShape& shape) {
  std::uint32_t group_keys[kMaxGroups];
  const int size = shape.experts / shape.groups;
  for (int g = 0; g < shape.groups; ++g) {
    std::uint32_t* own = keys + g * size;
    const int first = find_largest(own, size);
    const std::uint32_t first_key = own[first];
    own[first] = kTaken;
    const float score = b[g * size + first] + b[g * size + find_largest(own, size)];
    own[first] = first_key;
    group_keys[g] = order_key(score);
  }
  for (int kept = 0; kept < shape.kept_groups; ++kept) {
    group_keys[find_largest(group_keys, shape.groups)] = kTaken;
  }
  for (int g = 0; g < shape.groups; ++g) {
    if (group_keys[g] == kTaken) continue;
    for (int i = 0; i < size; ++i) keys[g * size + i] = kTaken;
  }
}

// A token a block: all threads make the probabilities, one chooses.
__global__ void gate_kernel(Rows<const float> logits,
                            const float* bias,
                            const std::int32_t* positions,
                            Rows<const std::int32_t> replay,
                            Rows<std::int32_t> chosen_rows,
                            Rows<float> weight_rows,
                            GateShape shape) {
  __shared__ float p[kMaxExperts];
  __shared__ float b[kMaxExperts];
  __shared__ std::uint32_t keys[kMaxExperts];
  const std::int64_t token = blockIdx.x;
  if (positions[token] < 0) {  // padding
    for (int j = threadIdx.x; j < shape.chosen; j += kThreads) {
      chosen_rows.row(token)[j] = -1;
      weight_rows.row(token)[j] = 0;
    }
    return;
  }
  for (int e = threadIdx.x; e < shape.experts; e += kThreads) {
    p[e] = sigmoid_f32(logits.row(token)[e]);
    b[e] = p[e] + bias[e];
    keys[e] = order_key(b[e]);
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  std::int32_t* chosen = chosen_rows.row(token);
  if (replay.data != nullptr) {
    for (int j = 0; j < shape.chosen; ++j) chosen[j] = replay.row(token)[j];
  } else {
    if (shape.kept_groups < shape.groups) keep_best_groups(b, keys, shape);
    for (int j = 0; j < shape.chosen; ++j) {
      const int e = find_largest(keys, shape.experts);
      keys[e] = kTaken;
      int at = j;  // ascending
      while (at > 0 && chosen[at - 1] > e) {
        chosen[at] = chosen[at - 1];
        --at;
      }
      chosen[at] = e;
    }
  }
  float sum = 0;
  for (int j = 0; j < shape.chosen; ++j) sum += p[chosen[j]];
  for (int j = 0; j < shape.chosen; ++j) {
    const float own = p[chosen[j]];
    weight_rows.row(token)[j] = (shape.normalize ? own / sum : own) * shape.scale;
  }
}

// The chosen experts of a step's tokens, and which of them are local.
struct Choices {
  Rows<const std::int32_t> rows;
  int chosen = 0;  // of a token
  int count = 0;   // of all tokens
  int first_expert = 0;

  __device__ int local(int i) const { return rows.row(i / chosen)[i % chosen] - first_expert; }
};

// A block a local expert: offsets[e + 1] = how many choices are its own.
__global__ void count_choices_kernel(Choices choices, std::int32_t* offsets) {
  const int expert = blockIdx.x;
  int own = 0;
  for (int i = threadIdx.x; i < choices.count; i += kThreads) {
    own += choices.local(i) == expert ? 1 : 0;
  }
  own = cub::BlockReduce<int, kThreads>().Sum(own);
  if (threadIdx.x == 0) offsets[expert + 1] = own;
}

// One block: counts become offsets.
__global__ void scan_counts_kernel(std::int32_t* offsets, int experts) {
  const int e = threadIdx.x;
  int sum = e < experts ? offsets[e + 1] : 0;
  cub::BlockScan<int, kMaxExperts>().InclusiveSum(sum, sum);
  if (e < experts) offsets[e + 1] = sum;
  if (e == 0) offsets[0] = 0;
}

// A block a local expert, which gives its choices their rows in order; block 0 also marks those
// without one.
__global__ void place_choices_kernel(Choices choices,
                                     Rows<std::int32_t> row_of,
                                     std::int32_t* source,
                                     const std::int32_t* offsets) {
  __shared__ typename cub::BlockScan<int, kThreads>::TempStorage scratch;
  const int expert = blockIdx.x;
  const int experts = gridDim.x;
  int next = offsets[expert];
  for (int begin = 0; begin < choices.count; begin += kThreads) {
    const int i = begin + static_cast<int>(threadIdx.x);
    const int local = i < choices.count ? choices.local(i) : expert + 1;
    int before = 0;
    int all = 0;
    cub::BlockScan<int, kThreads>(scratch).ExclusiveSum(local == expert ? 1 : 0, before, all);
    __syncthreads();  // the scratch is used again
    if (local == expert) {
      row_of.row(i / choices.chosen)[i % choices.chosen] = next + before;
      source[next + before] = i / choices.chosen;
    } else if (expert == 0 && i < choices.count && (local < 0 || local >= experts)) {
      row_of.row(i / choices.chosen)[i % choices.chosen] = -1;
    }
    next += all;
  }
}

template <class T>
__global__ void expand_kernel(Rows<const T> x,
                              Rows<const float> x_scales,
                              const std::int32_t* source,
                              const std::int32_t* last,
                              Rows<T> y,
                              Rows<float> y_scales,
                              int width,
                              int groups) {
  const int row = blockIdx.x;
  if (row >= *last) return;
  const T* from = x.row(source[row]);
  for (int h = threadIdx.x; h < width; h += kThreads) y.row(row)[h] = from[h];
  if (x_scales.data == nullptr) return;
  for (int g = threadIdx.x; g < groups; g += kThreads) {
    y_scales.row(row)[g] = x_scales.row(source[row])[g];
  }
}

template <class T>
__global__ void combine_kernel(Rows<const T> rows,
                               Rows<const std::int32_t> row_of,
                               Rows<const float> weights,
                               Rows<const T> shared,
                               Rows<T> y,
                               int chosen,
                               int hidden) {
  const std::int64_t token = blockIdx.x;
  for (int h = threadIdx.x; h < hidden; h += kThreads) {
    float sum = 0;
    for (int j = 0; j < chosen; ++j) {
      const std::int32_t row = row_of.row(token)[j];
      if (row < 0) continue;
      sum = fmaf(weights.row(token)[j], widen(rows.row(row)[h]), sum);
    }
    y.row(token)[h] = narrow<T>(sum + widen(shared.row(token)[h]));
  }
}

}  // namespace

void gate(CUstream_st* stream, const ops::GateArgs& args) {
  const auto tokens = static_cast<unsigned>(args.logits.shape[0]);
  if (tokens == 0) return;
  GateShape shape;
  shape.experts = static_cast<int>(args.logits.shape[1]);
  shape.chosen = static_cast<int>(args.experts.shape[1]);
  shape.groups = args.groups;
  shape.kept_groups = args.kept_groups;
  shape.normalize = args.normalize;
  shape.scale = args.scale;
  FATHOM_CHECK(shape.experts <= kMaxExperts && shape.groups <= kMaxGroups);
  gate_kernel<<<tokens, kThreads, 0, stream>>>(
      Rows<const float>(args.logits), static_cast<const float*>(args.bias.data),
      static_cast<const std::int32_t*>(args.positions.data),
      args.replay.present() ? Rows<const std::int32_t>(args.replay) : Rows<const std::int32_t>(),
      Rows<std::int32_t>(args.experts), Rows<float>(args.weights), shape);
}

void group_by_expert(CUstream_st* stream, const ops::GroupByExpertArgs& args) {
  Choices choices;
  choices.rows = Rows<const std::int32_t>(args.experts);
  choices.chosen = static_cast<int>(args.experts.shape[1]);
  choices.count = static_cast<int>(args.experts.elements());
  choices.first_expert = args.first_expert;
  auto* offsets = static_cast<std::int32_t*>(args.offsets.data);
  const auto experts = static_cast<unsigned>(args.offsets.shape[0] - 1);
  FATHOM_CHECK(experts >= 1 && experts <= kMaxExperts);
  count_choices_kernel<<<experts, kThreads, 0, stream>>>(choices, offsets);
  scan_counts_kernel<<<1, kMaxExperts, 0, stream>>>(offsets, static_cast<int>(experts));
  place_choices_kernel<<<experts, kThreads, 0, stream>>>(
      choices, Rows<std::int32_t>(args.row_of), static_cast<std::int32_t*>(args.source.data),
      offsets);
}

void expand_rows(CUstream_st* stream, const ops::ExpandRowsArgs& args) {
  const auto rows = static_cast<unsigned>(args.y.shape[0]);
  if (rows == 0) return;
  const auto* last =
      static_cast<const std::int32_t*>(args.offsets.data) + args.offsets.shape[0] - 1;
  with_type<float, BFloat16, Float8E4M3>(args.x.dtype, [&](auto type) {
    using T = decltype(type);
    const bool scaled = args.x_scales.present();
    expand_kernel<T><<<rows, kThreads, 0, stream>>>(
        Rows<const T>(args.x), scaled ? Rows<const float>(args.x_scales) : Rows<const float>(),
        static_cast<const std::int32_t*>(args.source.data), last, Rows<T>(args.y),
        scaled ? Rows<float>(args.y_scales) : Rows<float>(), static_cast<int>(args.x.shape[1]),
        scaled ? static_cast<int>(args.x_scales.shape[1]) : 0);
  });
}

void combine(CUstream_st* stream, const ops::CombineArgs& args) {
  const auto tokens = static_cast<unsigned>(args.y.shape[0]);
  if (tokens == 0) return;
  with_type<float, BFloat16>(args.rows.dtype, [&](auto type) {
    using T = decltype(type);
    combine_kernel<T><<<tokens, kThreads, 0, stream>>>(
        Rows<const T>(args.rows), Rows<const std::int32_t>(args.row_of),
        Rows<const float>(args.weights), Rows<const T>(args.shared), Rows<T>(args.y),
        static_cast<int>(args.row_of.shape[1]), static_cast<int>(args.y.shape[1]));
  });
}

}  // namespace fathom::cuda
