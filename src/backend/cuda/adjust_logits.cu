#include <algorithm>
#include <cmath>

#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/launches.h"

// Penalties, bans, masks and biases on rows of logits, to the bit of docs/arithmetic.md 14.
namespace fathom::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kTokens = 4096;  // of a block
constexpr int kWordBits = 32;

// ops::AdjustLogitsArgs as a kernel takes them.
struct Adjustments {
  Rows<float> logits;
  const std::int32_t* row = nullptr;
  Rows<const float> penalties;
  const std::int32_t* first_entry = nullptr;
  const std::int32_t* token = nullptr;
  const std::int32_t* count = nullptr;
  const float* bias = nullptr;
  const std::int32_t* mask_row = nullptr;  // or null
  Rows<const std::uint32_t> mask;
  int vocab = 0;
};

__device__ bool allows(const std::uint32_t* mask, int token) {
  return (mask[token / kWordBits] >> (token % kWordBits) & 1U) != 0;
}

__device__ float adjusted(float x, int count, const float* penalties, float bias) {
  if (count < 0) return -INFINITY;
  if (count > 0) {
    x -= penalties[0] * static_cast<float>(count) + penalties[1];
    x = x < 0 ? x * penalties[2] : x / penalties[2];
  }
  return x + bias;
}

// A row of blocks for each row of logits. Each masks some tokens and takes a share of the entries;
// entries of masked tokens are left to whoever masks them, so no two write to one place.
__global__ void __launch_bounds__(kThreads) adjust_logits_kernel(Adjustments all) {
  const std::int64_t index = blockIdx.x;
  float* const row = all.logits.row(all.row[index]);
  const std::uint32_t* mask = nullptr;
  if (all.mask_row != nullptr && all.mask_row[index] >= 0) mask = all.mask.row(all.mask_row[index]);
  if (mask != nullptr) {
    const int first = static_cast<int>(blockIdx.y) * kTokens;
    const int last = min(first + kTokens, all.vocab);
    for (int token = first + static_cast<int>(threadIdx.x); token < last; token += kThreads) {
      if (!allows(mask, token)) row[token] = -INFINITY;
    }
  }
  const int end = all.first_entry[index + 1];
  const int step = static_cast<int>(gridDim.y) * kThreads;
  int entry = all.first_entry[index] + static_cast<int>(blockIdx.y * kThreads + threadIdx.x);
  for (; entry < end; entry += step) {
    const int token = all.token[entry];
    if (mask != nullptr && !allows(mask, token)) continue;
    row[token] = adjusted(row[token], all.count[entry], all.penalties.row(index), all.bias[entry]);
  }
}

}  // namespace

void adjust_logits(CUstream_st* stream, const ops::AdjustLogitsArgs& args) {
  const auto rows = static_cast<unsigned>(args.row.shape[0]);
  if (rows == 0) return;
  Adjustments all;
  all.logits = Rows<float>(args.logits);
  all.row = static_cast<const std::int32_t*>(args.row.data);
  all.penalties = Rows<const float>(args.penalties);
  all.first_entry = static_cast<const std::int32_t*>(args.first_entry.data);
  all.token = static_cast<const std::int32_t*>(args.token.data);
  all.count = static_cast<const std::int32_t*>(args.count.data);
  all.bias = static_cast<const float*>(args.bias.data);
  if (args.mask_row.present()) {
    all.mask_row = static_cast<const std::int32_t*>(args.mask_row.data);
    all.mask = Rows<const std::uint32_t>(args.mask);
  }
  all.vocab = static_cast<int>(args.logits.shape[1]);
  const dim3 grid(rows, blocks_for(std::max<std::int64_t>(args.logits.shape[1], 1), kTokens));
  adjust_logits_kernel<<<grid, kThreads, 0, stream>>>(all);
}

}  // namespace fathom::cuda
