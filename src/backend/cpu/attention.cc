#include <algorithm>
#include <cstring>
#include <limits>

#include "backend/cpu/kernels.h"
#include "backend/cpu/linear_kernels.h"
#include "backend/cpu/paged.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/row_buffer.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/attention.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/lanes-inl.h"
#include "backend/cpu/rows-inl.h"

#ifndef FATHOM_BACKEND_CPU_ATTENTION_ONCE
#define FATHOM_BACKEND_CPU_ATTENTION_ONCE
namespace fathom::cpu {

// List entries of one block of the canonical order.
inline constexpr std::int64_t kListBlock = 64;

// Some heads of one token. Widths in floats, rows of queries, keys and sums packed
// (linear_kernels.h).
struct AttentionTask {
  const ops::SparseAttentionArgs* args = nullptr;
  std::int64_t token = 0;
  std::int64_t head_begin = 0;
  std::int64_t heads = 0;
  float* query = nullptr;         // [heads, key_width]
  float* keys = nullptr;          // [kListBlock, key_width]
  float* scores = nullptr;        // [heads, list_width]
  float* sums = nullptr;          // [heads, value_width]
  float* denominators = nullptr;  // [heads]
  std::int64_t key_width = 0;
  std::int64_t value_width = 0;
  std::int64_t list_width = 0;
};

}  // namespace fathom::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {
namespace {

// An FP8 record whose latent does not fill its last group of lanes: its numbers in order first,
// then packed in place. Nothing in such a record need be aligned.
void load_ragged_record(const config::KvLayout& layout, const std::byte* record, float* to) {
  const auto* codes = reinterpret_cast<const Float8E4M3*>(record);
  for (std::int64_t k = 0; k < layout.latent_dim; ++k) {
    float scale = 0;
    std::memcpy(&scale, record + layout.latent_scales_offset() + k / kScaleBlock * 4, sizeof scale);
    to[k] = to_float(codes[k]) * scale;
  }
  for (std::int64_t k = 0; k < layout.rope_dim; ++k) {
    BFloat16 number{};
    std::memcpy(&number, record + layout.latent_rope_offset() + 2 * k, sizeof number);
    to[layout.latent_dim + k] = to_float(number);
  }
  pack(to, std::int64_t{layout.latent_dim} + layout.rope_dim, to);
}

// One cached record as a packed row of c + r numbers.
void load_key(const config::KvLayout& layout, const std::byte* record, float* to) {
  const std::int64_t width = std::int64_t{layout.latent_dim} + layout.rope_dim;
  if (layout.latent_dtype == DType::kF32) {
    return pack(reinterpret_cast<const float*>(record), width, to);
  }
  if (layout.latent_dtype == DType::kBF16) {
    return pack(reinterpret_cast<const BFloat16*>(record), width, to);
  }
  if (layout.latent_dim % kLanes != 0) return load_ragged_record(layout, record, to);
  const auto* codes = reinterpret_cast<const Float8E4M3*>(record);
  const auto* scales = reinterpret_cast<const float*>(record + layout.latent_scales_offset());
  for (std::int64_t k = 0; k < layout.latent_dim; k += kLanes) {
    const F32x8 scale = set8(scales[k / kScaleBlock]);
    const Pair pair = load16(codes + k);
    store8(mul8(pair.even, scale), to + k);
    store8(mul8(pair.odd, scale), to + k + 8);
  }
  pack(reinterpret_cast<const BFloat16*>(record + layout.latent_rope_offset()), layout.rope_dim,
       to + layout.latent_dim);
}

// Loads list entries [begin, begin + count); rows up to the next multiple of four become zero.
void load_block(const AttentionTask& task, std::int64_t begin, std::int64_t count) {
  const ops::SparseAttentionArgs& args = *task.args;
  const config::KvLayout& layout = args.cache.layout;
  const auto* list = args.selected.row<const std::int32_t>(task.token) + begin;
  const auto sequence = args.tokens.sequences.row<const std::int32_t>(0)[task.token];
  for (std::int64_t i = 0; i < count; ++i) {
    const Place place = place_of(args.tokens, sequence, list[i]);
    load_key(layout,
             row_bytes(args.cache.bytes, place.page) + place.slot * layout.latent_record_bytes(),
             task.keys + i * task.key_width);
  }
  const std::int64_t rows = ceil_div(count, kTileColumns) * kTileColumns;
  std::fill(task.keys + count * task.key_width, task.keys + rows * task.key_width, 0.0F);
}

// scores → p = exp(score − max), rounded for the value sum when `round`; returns Σ p before that
// rounding.
float softmax_row(float* scores, std::int64_t count, float scale, bool round) {
  float largest = -std::numeric_limits<float>::infinity();
  for (std::int64_t i = 0; i < count; ++i) {
    scores[i] *= scale;
    largest = std::max(largest, scores[i]);
  }
  const std::int64_t width = padded(count);
  const F32x8 shift = set8(largest);
  for (std::int64_t i = 0; i < width; i += 8) {
    store8(exp8(sub8(load8(scores + i), shift)), scores + i);
  }
  std::fill(scores + count, scores + width, 0.0F);
  float sum = 0;
  for (std::int64_t begin = 0; begin < width; begin += kListBlock) {
    F32x8 low = zero8();
    F32x8 high = zero8();
    for (std::int64_t i = begin; i < std::min(begin + kListBlock, width); i += kLanes) {
      low = add8(low, load8(scores + i));
      high = add8(high, load8(scores + i + 8));
    }
    sum += reduce_natural(low, high);
  }
  if (round) {
    for (std::int64_t i = 0; i < width; i += 8) store8(round8_bf16(load8(scores + i)), scores + i);
  }
  return sum;
}

// sums[m, :] += Σ_i p[m, i] · keys[i, :] over one block, for M heads.
template <int M>
HWY_INLINE void add_values(const AttentionTask& task,
                           std::int64_t head,
                           std::int64_t begin,
                           std::int64_t count) {
  const float* p = task.scores + head * task.list_width + begin;
  for (std::int64_t k = 0; k < task.value_width; k += kLanes) {
    F32x8 block[M][2];  // NOLINT(*-avoid-c-arrays)
    for (auto& of_head : block) {
      for (F32x8& sum : of_head) sum = zero8();
    }
    for (std::int64_t i = 0; i < count; ++i) {
      const float* value = task.keys + i * task.key_width + k;
      const F32x8 first = load8(value);
      const F32x8 second = load8(value + 8);
      for (int m = 0; m < M; ++m) {
        const F32x8 weight = set8(p[m * task.list_width + i]);
        block[m][0] = fma8(weight, first, block[m][0]);
        block[m][1] = fma8(weight, second, block[m][1]);
      }
    }
    for (int m = 0; m < M; ++m) {
      float* sum = task.sums + (head + m) * task.value_width + k;
      store8(add8(load8(sum), block[m][0]), sum);
      store8(add8(load8(sum + 8), block[m][1]), sum + 8);
    }
  }
}

void write_head(const AttentionTask& task, std::int64_t head) {
  const TensorView& y = task.args->y;
  float* sum = task.sums + head * task.value_width;
  const F32x8 denominator = set8(task.denominators[head]);
  for (std::int64_t k = 0; k < task.value_width; k += 8) {
    store8(div8(load8(sum + k), denominator), sum + k);
  }
  // The packed query is read by now: its row is free to hold the numbers in order.
  float* natural = task.query + head * task.key_width;
  unpack_row(sum, y.shape[2], natural);
  narrow(natural, y.shape[2], y.dtype, row_bytes(y, task.token, task.head_begin + head));
}

void attention_task_target(const AttentionTask& task) {
  const ops::SparseAttentionArgs& args = *task.args;
  const std::int64_t count = args.count.row<const std::int32_t>(0)[task.token];
  for (std::int64_t head = 0; head < task.heads; ++head) {
    pack_row(row_bytes(args.query, task.token, task.head_begin + head), args.query.dtype,
             args.query.shape[2], task.query + head * task.key_width);
  }
  for (std::int64_t begin = 0; begin < count; begin += kListBlock) {
    const std::int64_t size = std::min(kListBlock, count - begin);
    load_block(task, begin, size);
    dot_rows(task.query, task.heads, task.keys, ceil_div(size, kTileColumns) * kTileColumns,
             task.key_width, task.scores + begin, task.list_width);
  }
  const bool round = args.query.dtype == DType::kBF16;
  for (std::int64_t head = 0; head < task.heads; ++head) {
    task.denominators[head] =
        softmax_row(task.scores + head * task.list_width, count, args.scale, round);
  }
  std::fill_n(task.sums, task.heads * task.value_width, 0.0F);
  for (std::int64_t begin = 0; begin < count; begin += kListBlock) {
    const std::int64_t size = std::min(kListBlock, count - begin);
    if (count > kListBlock) load_block(task, begin, size);  // else the keys are still there
    std::int64_t head = 0;
    for (; head + 4 <= task.heads; head += 4) add_values<4>(task, head, begin, size);
    for (; head < task.heads; ++head) add_values<1>(task, head, begin, size);
  }
  for (std::int64_t head = 0; head < task.heads; ++head) write_head(task, head);
}

}  // namespace
}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(attention_task_target);

void sparse_attention(CpuStream& stream, const ops::SparseAttentionArgs& args) {
  const std::int64_t tokens = args.query.shape[0];
  const std::int64_t heads = args.query.shape[1];
  if (tokens == 0 || heads == 0) return;
  const auto threads = static_cast<std::int64_t>(stream.pool().threads());
  // Few tokens: their heads are spread over the threads, at the price of reading keys twice.
  const std::int64_t parts =
      std::clamp<std::int64_t>(ceil_div(2 * threads, tokens), 1, ceil_div(heads, 4));
  const std::int64_t heads_each = ceil_div(ceil_div(heads, parts), 4) * 4;
  const std::int64_t parts_used = ceil_div(heads, heads_each);

  AttentionTask task;
  task.args = &args;
  task.key_width = padded(args.query.shape[2]);
  task.value_width = padded(args.cache.layout.latent_dim);
  task.list_width = padded(args.selected.shape[1]);
  const std::int64_t floats =
      kListBlock * task.key_width +
      heads_each * (task.key_width + task.value_width + task.list_width + 1);
  std::int64_t keys = 0;
  for (std::int64_t t = 0; t < tokens; ++t) keys += args.count.row<const std::int32_t>(0)[t];
  parallel_tasks(stream, tokens * parts_used, keys * heads * task.key_width,
                 [&](std::int64_t begin, std::int64_t end, int worker) {
                   AttentionTask mine = task;
                   mine.keys = static_cast<float*>(stream.worker_scratch(
                       worker, static_cast<std::size_t>(floats) * sizeof(float)));
                   mine.query = mine.keys + kListBlock * task.key_width;
                   mine.sums = mine.query + heads_each * task.key_width;
                   mine.scores = mine.sums + heads_each * task.value_width;
                   mine.denominators = mine.scores + heads_each * task.list_width;
                   for (std::int64_t i = begin; i < end; ++i) {
                     mine.token = i / parts_used;
                     mine.head_begin = i % parts_used * heads_each;
                     mine.heads = std::min(heads_each, heads - mine.head_begin);
                     HWY_DYNAMIC_DISPATCH(attention_task_target)(mine);
                   }
                 });
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE
