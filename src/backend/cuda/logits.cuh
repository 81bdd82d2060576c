#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "backend/cuda/numeric.cuh"
#include "ops/sample.h"

// Rows of logits, a block of whole warps a row: the largest, exponentials relative to it, and the
// rank at which a count or a probability is reached (docs/arithmetic.md 8 and 14). All threads of
// the block call each function and get the same result.
namespace fathom::cuda {

constexpr int kWarp = 32;
constexpr int kMaxWarps = 1024 / kWarp;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// `combine` over the values of all threads. It must not mind their order.
template <class T, class Combine>
__device__ T reduce_block(T value, const Combine& combine) {
  __shared__ T of_warp[kMaxWarps];
  for (int apart = kWarp / 2; apart > 0; apart /= 2) {
    value = combine(value, __shfl_xor_sync(kWholeWarp, value, apart));
  }
  if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = value;
  __syncthreads();
  value = of_warp[0];
  for (unsigned warp = 1; warp < blockDim.x / kWarp; ++warp) value = combine(value, of_warp[warp]);
  __syncthreads();  // the memory may be written again
  return value;
}

// NaN left out; -infinity when there is nothing else.
__device__ inline float largest_of(const float* row, int vocab) {
  float largest = -INFINITY;
  for (int i = threadIdx.x; i < vocab; i += blockDim.x) largest = fmaxf(largest, row[i]);
  return reduce_block(largest, [](float a, float b) { return fmaxf(a, b); });
}

// The first id whose logit is `value`, or 0 when there is none.
__device__ inline int first_equal(const float* row, int vocab, float value) {
  int first = threadIdx.x;
  while (first < vocab && row[first] != value) first += blockDim.x;
  first = reduce_block(min(first, vocab), [](int a, int b) { return min(a, b); });
  return first < vocab ? first : 0;
}

// Relative to the largest of the row: 1 for that one. NaN for NaN.
struct Softness {
  float top = 0;
  float temperature = 1;
  __device__ float weight(float logit) const { return exp_f32((logit - top) / temperature); }
};

// The canonical sum of all weights: the first warp adds one tile of them while the others make the
// next. Only one order of additions is right, so that they take most of the time.
__device__ inline float weight_sum(const float* row, int vocab, const Softness& softness) {
  constexpr int kTile = 2048;
  constexpr int kUnrolled = 8;
  __shared__ float tiles[2][kTile];
  __shared__ float result;
  const int count = (vocab + kTile - 1) / kTile;
  float lane = 0;
  for (int step = 0; step <= count; ++step) {
    if (threadIdx.x >= kWarp) {
      if (step < count) {
        for (int i = threadIdx.x - kWarp; i < kTile; i += blockDim.x - kWarp) {
          const int id = step * kTile + i;
          tiles[step % 2][i] = id < vocab ? softness.weight(row[id]) : 0;
        }
      }
    } else if (step > 0) {
      const float* tile = tiles[(step - 1) % 2] + threadIdx.x % kLanes;
#pragma unroll kUnrolled
      for (int i = 0; i < kTile; i += kLanes) lane += tile[i];
    }
    __syncthreads();
  }
  if (threadIdx.x < kWarp) lane = reduce_lanes(lane);
  if (threadIdx.x == 0) result = lane;
  __syncthreads();
  return result;
}

// base/math.h's, step by step. Requires a positive, finite x.
__device__ inline double log_f64(double x) {
  constexpr int kTerms = 12;
  int exponent = 0;
  double m = frexp(x, &exponent);  // exact: [0.5, 1)
  if (m < 0.70710678118654752) {
    m *= 2;
    --exponent;
  }
  // log m = 2 artanh(s); the series is 1 + s²/3 + s⁴/5 + …
  const double s = (m - 1) / (m + 1);
  double series = 1.0 / (2 * kTerms - 1);
#pragma unroll
  for (int i = kTerms - 2; i >= 0; --i) series = fma(series, s * s, 1.0 / (2 * i + 1));
  const double log_m = 2 * s * series;
  const auto n = static_cast<double>(exponent);
  return fma(n, 0x1.62e42fefa0000p-1, fma(n, 0x1.cf79abc9e3b3ap-40, log_m));
}

// The softmax of one row. Undefined where the row holds a NaN or its largest is infinite.
struct RowSoftmax {
  double top = 0;
  double temperature = 1;
  double log_sum = 0;  // of the weights
  bool defined = false;

  __device__ float logprob(float logit) const {
    if (!defined) return kNan;
    return static_cast<float>((static_cast<double>(logit) - top) / temperature - log_sum);
  }
};

__device__ inline RowSoftmax softmax_of(const float* row, int vocab, const Softness& softness) {
  RowSoftmax softmax;
  if (!isfinite(softness.top)) return softmax;
  const float sum = weight_sum(row, vocab, softness);
  if (!isfinite(sum)) return softmax;
  softmax.top = softness.top;
  softmax.temperature = softness.temperature;
  softmax.log_sum = log_f64(sum);
  softmax.defined = true;
  return softmax;
}

// Probabilities in units of 2^-40, added as integers (docs/arithmetic.md 14).
using Mass = unsigned long long;
constexpr Mass kNoLimit = std::numeric_limits<Mass>::max();

__device__ inline Mass mass_of(float weight) {
  constexpr double kUnits = 0x1p40;
  constexpr double kShift = 0x1p52;  // pushes what is below one unit out of a float64
  constexpr Mass kMantissa = (Mass{1} << 52U) - 1;
  const double shifted = __dadd_rn(__dmul_rn(static_cast<double>(weight), kUnits), kShift);
  return static_cast<Mass>(__double_as_longlong(shifted)) & kMantissa;
}

// Some tokens. Without initial values, for shared memory.
struct TokenMass {
  int count;
  Mass mass;
  __device__ bool reaches(int wanted, Mass limit) const { return count >= wanted || mass > limit; }
  __device__ TokenMass operator+(const TokenMass& other) const {
    return {count + other.count, mass + other.mass};
  }
};

constexpr int kDigitBits = 8;  // of an order key, looked at together
constexpr int kDigits = 1 << kDigitBits;
constexpr int kKeyBits = 32;

// What a block knows of the key that it looks for.
struct KeySearch {
  int count_of[kDigits];  // the tokens that agree with `found`, by their next digit
  Mass mass_of[kDigits];
  std::uint32_t found;  // the digits so far, in place
  TokenMass before;     // tokens of higher rank than those that agree
  TokenMass at;         // the tokens of the digit found last
};

// Sorts the agreeing tokens by the digit at `shift`. Logits are much alike, so a warp adds those of
// one digit itself, and only then to the block's.
template <class MassOf>
__device__ void count_digits(KeySearch& search,
                             const float* row,
                             int vocab,
                             int shift,
                             const MassOf& mass_of_logit) {
  constexpr int kHalf = 20;  // bits of a mass in its lower part; 32 of either fit into 32 bits
  const std::uint32_t known = shift + kDigitBits < kKeyBits ? ~0U << (shift + kDigitBits) : 0;
  const std::uint32_t found = search.found;
  for (int first = threadIdx.x / kWarp * kWarp; first < vocab; first += blockDim.x) {
    const int id = first + static_cast<int>(threadIdx.x % kWarp);
    const float logit = id < vocab ? row[id] : 0;
    const std::uint32_t key = order_key(logit);
    const bool agrees = id < vocab && (key & known) == found;
    if (!__any_sync(kWholeWarp, agrees)) continue;
    const int digit = agrees ? static_cast<int>(key >> shift) & (kDigits - 1) : -1;
    const unsigned peers = __match_any_sync(kWholeWarp, digit);
    if (!agrees) continue;
    const Mass own = mass_of_logit(logit);
    const Mass low = __reduce_add_sync(peers, static_cast<unsigned>(own & ((1U << kHalf) - 1)));
    const Mass high = __reduce_add_sync(peers, static_cast<unsigned>(own >> kHalf));
    if (static_cast<int>(threadIdx.x % kWarp) != __ffs(static_cast<int>(peers)) - 1) continue;
    atomicAdd(&search.count_of[digit], __popc(peers));
    const Mass mass = (high << kHalf) + low;
    if (mass > 0) atomicAdd(&search.mass_of[digit], mass);
  }
}

// One warp: the highest digit down to which `count` tokens or more than `limit` mass are reached.
__device__ inline void choose_digit(KeySearch& search, int shift, int count, Mass limit) {
  constexpr int kEach = kDigits / kWarp;
  const int lane = threadIdx.x % kWarp;
  int digit = kDigits - 1 - lane * kEach;  // the highest of this lane's
  TokenMass own{};
  for (int i = 0; i < kEach; ++i) {
    own = own + TokenMass{search.count_of[digit - i], search.mass_of[digit - i]};
  }
  TokenMass until = own;  // of this lane's digits and all higher ones
  for (int apart = 1; apart < kWarp; apart *= 2) {
    const TokenMass other{__shfl_up_sync(kWholeWarp, until.count, apart),
                          __shfl_up_sync(kWholeWarp, until.mass, apart)};
    if (lane >= apart) until = until + other;
  }
  until = until + search.before;
  const unsigned reached = __ballot_sync(kWholeWarp, until.reaches(count, limit));
  __syncwarp();  // every lane has read what one of them writes now
  if (lane != __ffs(static_cast<int>(reached)) - 1) return;
  TokenMass before{until.count - own.count, until.mass - own.mass};
  TokenMass at{search.count_of[digit], search.mass_of[digit]};
  while (!(before + at).reaches(count, limit)) {
    before = before + at;
    --digit;
    at = {search.count_of[digit], search.mass_of[digit]};
  }
  search.found |= static_cast<std::uint32_t>(digit) << shift;
  search.before = before;
  search.at = at;
}

// The last token in the order of ranks that is kept: tokens above `key` are, and the first `ties`
// at it, by ascending id.
struct Boundary {
  std::uint32_t key = 0;
  int ties = 0;
  Mass mass = 0;  // of all that are kept
};

// Finds the first token with which `count` tokens or more than `limit` mass are reached. Requires
// count <= vocab. `mass_of_logit` gives equal logits equal masses.
template <class MassOf>
__device__ Boundary
find_boundary(const float* row, int vocab, int count, Mass limit, const MassOf& mass_of_logit) {
  __shared__ KeySearch search;
  if (threadIdx.x == 0) {
    search.found = 0;
    search.before = TokenMass{};
  }
  for (int shift = kKeyBits - kDigitBits; shift >= 0; shift -= kDigitBits) {
    for (int digit = threadIdx.x; digit < kDigits; digit += blockDim.x) {
      search.count_of[digit] = 0;
      search.mass_of[digit] = 0;
    }
    __syncthreads();
    count_digits(search, row, vocab, shift, mass_of_logit);
    __syncthreads();
    if (threadIdx.x < kWarp) choose_digit(search, shift, count, limit);
    __syncthreads();
  }
  const Mass each = search.at.mass / static_cast<Mass>(search.at.count);
  Boundary boundary;
  boundary.key = search.found;
  boundary.ties = min(search.at.count, count - search.before.count);
  if (each > 0) {
    const Mass more = (limit - search.before.mass) / each;
    if (more < static_cast<Mass>(boundary.ties)) boundary.ties = static_cast<int>(more) + 1;
  }
  boundary.mass = search.before.mass + each * static_cast<Mass>(boundary.ties);
  __syncthreads();  // the memory may be written again
  return boundary;
}

// The ids that one warp of the block goes through in ascending order, a thread every 32nd. All
// warps have the same number of whole rounds but the last ones.
struct Segment {
  int begin = 0;
  int end = 0;
};
__device__ inline Segment own_segment(int vocab) {
  const int warps = blockDim.x / kWarp;
  const int each = (vocab + warps * kWarp - 1) / (warps * kWarp) * kWarp;
  const int begin = min(static_cast<int>(threadIdx.x / kWarp) * each, vocab);
  return {begin, min(begin + each, vocab)};
}

// How many of the lanes below this one say so.
__device__ inline int lanes_before(unsigned ballot) {
  return __popc(ballot & ((1U << threadIdx.x % kWarp) - 1));
}

}  // namespace fathom::cuda
