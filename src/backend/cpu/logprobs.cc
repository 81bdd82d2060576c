#include <cmath>
#include <cstdint>
#include <limits>

#include "backend/cpu/kernels.h"
#include "backend/cpu/order_key.h"
#include "backend/cpu/parallel.h"
#include "base/check.h"
#include "base/math.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/logprobs.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/lanes-inl.h"
#include "backend/cpu/logits-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {
namespace {

float max_of_row(const float* x, std::int64_t n) { return largest_of(x, n); }

std::int64_t find_in_row(const float* x, std::int64_t n, float value) {
  return first_equal(x, n, value);
}

template <bool kDivide>
HWY_INLINE float exp_sum(const float* x, std::int64_t n, const Scale& scale) {
  F32x8 low = zero8();
  F32x8 high = zero8();
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    low = add8(low, weight8<kDivide>(load8(x + i), scale));
    high = add8(high, weight8<kDivide>(load8(x + i + 8), scale));
  }
  if (i < n) {
    float tail[kLanes];  // NOLINT(*-avoid-c-arrays)
    copy_tail(x + i, n - i, tail);
    low = add8(low, weight8<kDivide>(load8(tail), scale));
    high = add8(high, weight8<kDivide>(load8(tail + 8), scale));
  }
  return reduce_natural(low, high);
}

// The canonical sum of exp((x[i] - top) / temperature).
float exp_sum_of_row(const float* x, std::int64_t n, float top, float temperature) {
  const Scale scale = {set8(top), set8(temperature)};
  return temperature == 1 ? exp_sum<false>(x, n, scale) : exp_sum<true>(x, n, scale);
}

// The first i >= begin whose number is above `floor`, or a NaN, or for which `floor` is one; n when
// there is none.
std::int64_t next_above(const float* x, std::int64_t begin, std::int64_t n, float floor) {
  const D32 d;
  const V32 limit = hn::Set(d, floor);
  std::int64_t i = begin;
  for (; i + kPartLanes <= n; i += kPartLanes) {
    if (!hn::AllTrue(d, hn::Le(hn::LoadU(d, x + i), limit))) break;
  }
  while (i < n && x[i] <= floor) ++i;
  return i;
}

}  // namespace
}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(max_of_row);
HWY_EXPORT(find_in_row);
HWY_EXPORT(exp_sum_of_row);
HWY_EXPORT(next_above);

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// The softmax of one row of logits.
struct RowSoftmax {
  double top = 0;
  double temperature = 1;
  double log_sum = 0;  // of the exponentials relative to `top`
  bool defined = false;

  float logprob(float logit) const {
    if (!defined) return kNan;
    return static_cast<float>((static_cast<double>(logit) - top) / temperature - log_sum);
  }
};

RowSoftmax softmax_of_row(const float* x, std::int64_t n, float max, float temperature) {
  RowSoftmax softmax;
  if (!std::isfinite(max)) return softmax;
  const float sum = HWY_DYNAMIC_DISPATCH(exp_sum_of_row)(x, n, max, temperature);
  if (!std::isfinite(sum)) return softmax;
  softmax.top = static_cast<double>(max);
  softmax.temperature = static_cast<double>(temperature);
  softmax.log_sum = log_f64(static_cast<double>(sum));
  softmax.defined = true;
  return softmax;
}

// The `count` largest logits, descending, ties by ascending id, NaN last, by insertion: few logits
// of a row are above the least of the best so far.
void best_of_row(const float* x, std::int64_t n, std::int32_t* ids, std::int64_t count) {
  std::int64_t filled = 0;
  std::int64_t i = 0;
  while (i < n) {
    const std::uint32_t key = order_key(x[i]);
    if (filled < count || key > order_key(x[ids[filled - 1]])) {
      if (filled < count) ++filled;
      std::int64_t at = filled - 1;
      for (; at > 0 && key > order_key(x[ids[at - 1]]); --at) ids[at] = ids[at - 1];
      ids[at] = static_cast<std::int32_t>(i);
    }
    ++i;
    if (filled == count) i = HWY_DYNAMIC_DISPATCH(next_above)(x, i, n, x[ids[count - 1]]);
  }
}

void logprobs_of_row(const ops::LogprobsArgs& args, std::int64_t row) {
  const auto* x = args.logits.row<const float>(row);
  const std::int64_t vocab = args.logits.shape[1];
  const float wanted = args.temperature.row<const float>(0)[row];
  const float temperature = wanted >= ops::kGreedyTemperature ? wanted : 1.0F;
  const float max = HWY_DYNAMIC_DISPATCH(max_of_row)(x, vocab);
  const RowSoftmax softmax = softmax_of_row(x, vocab, max, temperature);

  const std::int32_t token = args.token.row<const std::int32_t>(0)[row];
  FATHOM_CHECK(token >= 0 && token < vocab);
  args.logprob.row<float>(0)[row] = softmax.logprob(x[token]);
  if (args.top_ids.present()) {
    auto* ids = args.top_ids.row<std::int32_t>(row);
    auto* logprobs = args.top_logprobs.row<float>(row);
    const std::int64_t count = args.top_ids.shape[1];
    best_of_row(x, vocab, ids, count);
    for (std::int64_t i = 0; i < count; ++i) logprobs[i] = softmax.logprob(x[ids[i]]);
  }
  if (args.asked.present()) {
    const auto* ids = args.asked.row<const std::int32_t>(row);
    auto* logprobs = args.asked_logprobs.row<float>(row);
    for (std::int64_t i = 0; i < args.asked.shape[1]; ++i) {
      FATHOM_CHECK(ids[i] >= -1 && ids[i] < vocab);
      logprobs[i] = ids[i] < 0 ? kNan : softmax.logprob(x[ids[i]]);
    }
  }
}

}  // namespace

void argmax(CpuStream& stream, const ops::ArgmaxArgs& args) {
  const std::int64_t vocab = args.logits.shape[1];
  const bool with_sum = args.log_sum.present();
  parallel_rows(stream, args.logits.shape[0], vocab,
                [&](std::int64_t begin, std::int64_t end, int /*worker*/) {
                  for (std::int64_t t = begin; t < end; ++t) {
                    const auto* x = args.logits.row<const float>(t);
                    const float max = HWY_DYNAMIC_DISPATCH(max_of_row)(x, vocab);
                    args.token.row<std::int32_t>(0)[t] =
                        static_cast<std::int32_t>(HWY_DYNAMIC_DISPATCH(find_in_row)(x, vocab, max));
                    if (!with_sum) continue;
                    const RowSoftmax softmax = softmax_of_row(x, vocab, max, 1.0F);
                    args.log_sum.row<float>(0)[t] =
                        softmax.defined ? static_cast<float>(softmax.top + softmax.log_sum) : kNan;
                  }
                });
}

void logprobs(CpuStream& stream, const ops::LogprobsArgs& args) {
  parallel_rows(stream, args.logits.shape[0], args.logits.shape[1],
                [&](std::int64_t begin, std::int64_t end, int /*worker*/) {
                  for (std::int64_t t = begin; t < end; ++t) logprobs_of_row(args, t);
                });
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE
