#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/launches.h"
#include "backend/cuda/logits.cuh"

// Log-probabilities of chosen tokens of a row, to the bit of docs/arithmetic.md 8.
namespace fathom::cuda {

namespace {

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / kWarp;

struct Wanted {
  Rows<std::int32_t> top_ids;
  Rows<float> top_logprobs;
  int top = 0;
  Rows<const std::int32_t> asked_ids;
  Rows<float> asked_logprobs;
  int asked = 0;
};

// The first `ties` ids at the boundary and those above it, in any order.
__device__ void collect(const float* row, int vocab, const Boundary& boundary, float* ids) {
  __shared__ int ties_of[kWarps];
  __shared__ int filled;
  const int lane = threadIdx.x % kWarp;
  const int warp = threadIdx.x / kWarp;
  const Segment segment = own_segment(vocab);
  if (threadIdx.x == 0) filled = 0;
  int own_ties = 0;
  for (int begin = segment.begin; begin < segment.end; begin += kWarp) {
    const int id = begin + lane;
    const bool tie = id < segment.end && order_key(row[id]) == boundary.key;
    own_ties += __popc(__ballot_sync(kWholeWarp, tie));
  }
  if (lane == 0) ties_of[warp] = own_ties;
  __syncthreads();
  int left = boundary.ties;
  for (int i = 0; i < warp; ++i) left -= min(ties_of[i], left);
  for (int begin = segment.begin; begin < segment.end; begin += kWarp) {
    const int id = begin + lane;
    const std::uint32_t key = id < segment.end ? order_key(row[id]) : 0;
    const bool tie = id < segment.end && key == boundary.key;
    const unsigned ties = __ballot_sync(kWholeWarp, tie);
    if (key > boundary.key || (tie && lanes_before(ties) < left)) {
      ids[atomicAdd(&filled, 1)] = __int_as_float(id);
    }
    left -= min(__popc(ties), left);
  }
  __syncthreads();
}

// The `top` first ids by rank. Those that have these ranks are collected where the
// log-probabilities go; a thread then finds the rank of each by counting.
__device__ void rank_top(const float* row, int vocab, int top, float* collected, std::int32_t* to) {
  const auto no_mass = [](float) { return Mass{0}; };
  collect(row, vocab, find_boundary(row, vocab, top, kNoLimit, no_mass), collected);
  for (int i = threadIdx.x; i < top; i += kThreads) {
    const int id = __float_as_int(collected[i]);
    const std::uint32_t key = order_key(row[id]);
    int rank = 0;
    for (int j = 0; j < top; ++j) {
      const int other_id = __float_as_int(collected[j]);
      const std::uint32_t other = order_key(row[other_id]);
      rank += other > key || (other == key && other_id < id) ? 1 : 0;
    }
    to[rank] = id;
  }
  __syncthreads();
}

// A block a row. Passes over it: the largest logit; the sum; for the top ones four that find the
// last of them and two that collect them.
__global__ void __launch_bounds__(kThreads) logprobs_kernel(Rows<const float> logits,
                                                            const float* temperatures,
                                                            const std::int32_t* tokens,
                                                            float* logprobs,
                                                            Wanted wanted,
                                                            int vocab) {
  const std::int64_t index = blockIdx.x;
  const float* row = logits.row(index);
  const float temperature = temperatures[index];
  const Softness softness{largest_of(row, vocab),
                          temperature >= ops::kGreedyTemperature ? temperature : 1.0F};
  const RowSoftmax softmax = softmax_of(row, vocab, softness);
  if (threadIdx.x == 0) logprobs[index] = softmax.logprob(row[tokens[index]]);
  for (int i = threadIdx.x; i < wanted.asked; i += kThreads) {
    const int id = wanted.asked_ids.row(index)[i];
    wanted.asked_logprobs.row(index)[i] = id < 0 ? kNan : softmax.logprob(row[id]);
  }
  if (wanted.top == 0) return;
  std::int32_t* top_ids = wanted.top_ids.row(index);
  float* top_logprobs = wanted.top_logprobs.row(index);
  rank_top(row, vocab, wanted.top, top_logprobs, top_ids);
  for (int i = threadIdx.x; i < wanted.top; i += kThreads) {
    top_logprobs[i] = softmax.logprob(row[top_ids[i]]);
  }
}

}  // namespace

void logprobs(CUstream_st* stream, const ops::LogprobsArgs& args) {
  const auto rows = static_cast<unsigned>(args.logits.shape[0]);
  if (rows == 0) return;
  Wanted wanted;
  if (args.top_ids.present()) {
    wanted.top_ids = Rows<std::int32_t>(args.top_ids);
    wanted.top_logprobs = Rows<float>(args.top_logprobs);
    wanted.top = static_cast<int>(args.top_ids.shape[1]);
  }
  if (args.asked.present()) {
    wanted.asked_ids = Rows<const std::int32_t>(args.asked);
    wanted.asked_logprobs = Rows<float>(args.asked_logprobs);
    wanted.asked = static_cast<int>(args.asked.shape[1]);
  }
  logprobs_kernel<<<rows, kThreads, 0, stream>>>(
      Rows<const float>(args.logits), static_cast<const float*>(args.temperature.data),
      static_cast<const std::int32_t*>(args.token.data), static_cast<float*>(args.logprob.data),
      wanted, static_cast<int>(args.logits.shape[1]));
}

}  // namespace fathom::cuda
