#include <algorithm>
#include <cstdint>
#include <cstring>

#include "backend/cpu/kernels.h"
#include "backend/cpu/order_key.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/row_buffer.h"
#include "base/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/moe.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/lanes-inl.h"
#include "backend/cpu/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {
namespace {

// y = sigmoid(x), padded; the steps of sigmoid_f32.
void sigmoid_row(const float* x, std::int64_t n, float* y) {
  widen(DType::kF32, x, n, y);
  const F32x8 one = set8(1);
  for (std::int64_t i = 0; i < padded(n); i += 8) {
    store8(div8(one, add8(one, exp8(sub8(zero8(), load8(y + i))))), y + i);
  }
}

void combine_rows(const ops::CombineArgs& args, std::int64_t begin, std::int64_t end) {
  alignas(64) float sum[kRowBlock];  // NOLINT(*-avoid-c-arrays)
  alignas(64) float row[kRowBlock];  // NOLINT(*-avoid-c-arrays)
  const DType dtype = args.rows.dtype;
  const auto size = static_cast<std::int64_t>(size_of(dtype));
  const std::int64_t hidden = args.rows.shape[1];
  const std::int64_t k = args.row_of.shape[1];
  for (std::int64_t t = begin; t < end; ++t) {
    const auto* row_of = args.row_of.row<const std::int32_t>(t);
    const auto* weights = args.weights.row<const float>(t);
    for (std::int64_t at = 0; at < hidden; at += kRowBlock) {
      const std::int64_t n = HWY_MIN(kRowBlock, hidden - at);
      std::memset(sum, 0, sizeof sum);
      for (std::int64_t j = 0; j < k; ++j) {
        if (row_of[j] < 0) continue;
        widen(dtype, row_bytes(args.rows, row_of[j]) + at * size, n, row);
        const F32x8 weight = set8(weights[j]);
        for (std::int64_t i = 0; i < padded(n); i += 8) {
          store8(fma8(weight, load8(row + i), load8(sum + i)), sum + i);
        }
      }
      widen(dtype, row_bytes(args.shared, t) + at * size, n, row);
      for (std::int64_t i = 0; i < padded(n); i += 8) {
        store8(add8(load8(sum + i), load8(row + i)), sum + i);
      }
      narrow(sum, n, dtype, row_bytes(args.y, t) + at * size);
    }
  }
}

}  // namespace
}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(sigmoid_row);
HWY_EXPORT(combine_rows);

namespace {

// Marks an expert that may not be chosen (any more). order_key() never gives it: the keys of
// numbers are below, NaN's is 0.
constexpr std::uint32_t kTaken = 0xFFFFFFFFU;

// The place of the largest of n keys, the first of equals; kTaken ones are left out. -1 if all are.
std::int64_t find_largest(const std::uint32_t* keys, std::int64_t n) {
  std::int64_t best = -1;
  for (std::int64_t i = 0; i < n; ++i) {
    if (keys[i] != kTaken && (best < 0 || keys[i] > keys[best])) best = i;
  }
  return best;
}

// Scratch of one worker, all of it for one token at a time.
struct GateScratch {
  GateScratch(CpuStream& stream, int worker, const ops::GateArgs& args)
      : p(row_buffer(stream, worker, args.logits.shape[1], 4)),
        b(p + padded(args.logits.shape[1])),
        keys(reinterpret_cast<std::uint32_t*>(b + padded(args.logits.shape[1]))),
        group_keys(keys + padded(args.logits.shape[1])) {}
  float* p;                   // [experts] sigmoid of the logits
  float* b;                   // [experts] the same with the bias
  std::uint32_t* keys;        // [experts] order of b
  std::uint32_t* group_keys;  // [groups] order of the groups' scores
};

// Leaves only the experts of the best groups to choose from.
void keep_best_groups(const ops::GateArgs& args,
                      std::int64_t group_size,
                      const GateScratch& scratch) {
  for (std::int64_t g = 0; g < args.groups; ++g) {
    std::uint32_t* keys = scratch.keys + g * group_size;
    const float* b = scratch.b + g * group_size;
    const std::int64_t first = find_largest(keys, group_size);
    const std::uint32_t first_key = keys[first];
    keys[first] = kTaken;
    const float score = b[first] + b[find_largest(keys, group_size)];
    keys[first] = first_key;
    scratch.group_keys[g] = order_key(score);
  }
  for (std::int32_t kept = 0; kept < args.kept_groups; ++kept) {
    scratch.group_keys[find_largest(scratch.group_keys, args.groups)] = kTaken;
  }
  for (std::int64_t g = 0; g < args.groups; ++g) {
    if (scratch.group_keys[g] == kTaken) continue;
    std::fill_n(scratch.keys + g * group_size, group_size, kTaken);
  }
}

void choose_experts(const ops::GateArgs& args, std::int64_t token, const GateScratch& scratch) {
  const std::int64_t experts = args.logits.shape[1];
  const std::int64_t k = args.experts.shape[1];
  const float* bias = args.bias.row<const float>(0);
  for (std::int64_t e = 0; e < experts; ++e) {
    scratch.b[e] = scratch.p[e] + bias[e];
    scratch.keys[e] = order_key(scratch.b[e]);
  }
  if (args.kept_groups < args.groups) keep_best_groups(args, experts / args.groups, scratch);
  auto* chosen = args.experts.row<std::int32_t>(token);
  for (std::int64_t j = 0; j < k; ++j) {
    const std::int64_t e = find_largest(scratch.keys, experts);
    scratch.keys[e] = kTaken;
    chosen[j] = static_cast<std::int32_t>(e);
  }
  std::sort(chosen, chosen + k);
}

void gate_token(const ops::GateArgs& args, std::int64_t token, const GateScratch& scratch) {
  const std::int64_t experts = args.logits.shape[1];
  const std::int64_t k = args.experts.shape[1];
  auto* chosen = args.experts.row<std::int32_t>(token);
  auto* weights = args.weights.row<float>(token);
  if (args.positions.row<const std::int32_t>(0)[token] < 0) {  // padding
    std::fill_n(chosen, k, -1);
    std::fill_n(weights, k, 0.0F);
    return;
  }
  HWY_DYNAMIC_DISPATCH(sigmoid_row)(args.logits.row<const float>(token), experts, scratch.p);
  if (args.replay.present()) {
    std::copy_n(args.replay.row<const std::int32_t>(token), k, chosen);
  } else {
    choose_experts(args, token, scratch);
  }
  float sum = 0;
  for (std::int64_t j = 0; j < k; ++j) {
    FATHOM_CHECK(chosen[j] >= 0 && chosen[j] < experts);
    sum += scratch.p[chosen[j]];
  }
  for (std::int64_t j = 0; j < k; ++j) {
    const float p = scratch.p[chosen[j]];
    weights[j] = (args.normalize ? p / sum : p) * args.scale;
  }
}

}  // namespace

void gate(CpuStream& stream, const ops::GateArgs& args) {
  const std::int64_t experts = args.logits.shape[1];
  parallel_rows(stream, args.logits.shape[0], experts * args.experts.shape[1],
                [&](std::int64_t begin, std::int64_t end, int worker) {
                  const GateScratch scratch(stream, worker, args);
                  for (std::int64_t t = begin; t < end; ++t) gate_token(args, t, scratch);
                });
}

void group_by_expert(CpuStream& stream, const ops::GroupByExpertArgs& args) {
  const std::int64_t tokens = args.experts.shape[0];
  const std::int64_t k = args.experts.shape[1];
  const auto experts = static_cast<std::int32_t>(args.offsets.shape[0] - 1);
  auto* offsets = args.offsets.row<std::int32_t>(0);
  const auto local = [&](std::int64_t t, std::int64_t j) {
    const std::int32_t e = args.experts.row<const std::int32_t>(t)[j] - args.first_expert;
    return e >= 0 && e < experts ? e : -1;
  };
  std::fill_n(offsets, experts + 1, 0);
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t j = 0; j < k; ++j) {
      if (const std::int32_t e = local(t, j); e >= 0) ++offsets[e + 1];
    }
  }
  for (std::int32_t e = 0; e < experts; ++e) offsets[e + 1] += offsets[e];
  auto* next = static_cast<std::int32_t*>(
      stream.shared_scratch(static_cast<std::size_t>(experts) * sizeof(std::int32_t)));
  std::copy_n(offsets, experts, next);
  auto* source = args.source.row<std::int32_t>(0);
  for (std::int64_t t = 0; t < tokens; ++t) {
    auto* row_of = args.row_of.row<std::int32_t>(t);
    for (std::int64_t j = 0; j < k; ++j) {
      const std::int32_t e = local(t, j);
      row_of[j] = e >= 0 ? next[e]++ : -1;
      if (e >= 0) source[row_of[j]] = static_cast<std::int32_t>(t);
    }
  }
}

void expand_rows(CpuStream& stream, const ops::ExpandRowsArgs& args) {
  const auto* source = args.source.row<const std::int32_t>(0);
  const std::int64_t rows = args.offsets.row<const std::int32_t>(0)[args.offsets.shape[0] - 1];
  FATHOM_CHECK(rows >= 0 && rows <= args.y.shape[0]);
  const std::size_t row_size = static_cast<std::size_t>(args.x.shape[1]) * size_of(args.x.dtype);
  const bool scaled = args.x.dtype == DType::kF8E4M3;
  const std::size_t scales_size =
      scaled ? static_cast<std::size_t>(args.x_scales.shape[1]) * sizeof(float) : 0;
  if (row_size == 0) return;
  parallel_rows(stream, rows, args.x.shape[1] / 4,
                [&](std::int64_t begin, std::int64_t end, int /*worker*/) {
                  for (std::int64_t row = begin; row < end; ++row) {
                    FATHOM_CHECK(source[row] >= 0 && source[row] < args.x.shape[0]);
                    std::memcpy(row_bytes(args.y, row), row_bytes(args.x, source[row]), row_size);
                    if (!scaled) continue;
                    std::memcpy(row_bytes(args.y_scales, row),
                                row_bytes(args.x_scales, source[row]), scales_size);
                  }
                });
}

void combine(CpuStream& stream, const ops::CombineArgs& args) {
  const std::int64_t tokens = args.row_of.shape[0];
  const std::int64_t k = args.row_of.shape[1];
  for (std::int64_t t = 0; t < tokens; ++t) {
    const auto* row_of = args.row_of.row<const std::int32_t>(t);
    for (std::int64_t j = 0; j < k; ++j) {
      FATHOM_CHECK(row_of[j] >= -1 && row_of[j] < args.rows.shape[0]);
    }
  }
  parallel_rows(stream, tokens, args.rows.shape[1] * (k + 1) / 2,
                [&](std::int64_t begin, std::int64_t end, int /*worker*/) {
                  HWY_DYNAMIC_DISPATCH(combine_rows)(args, begin, end);
                });
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE
