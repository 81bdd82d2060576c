#include <algorithm>
#include <cstdint>

#include "backend/cpu/kernels.h"
#include "backend/cpu/linear_kernels.h"
#include "backend/cpu/list_block.h"
#include "backend/cpu/paged.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/row_buffer.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/attention.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/attention-inl.h"

#ifndef FATHOM_BACKEND_CPU_ATTENTION_ONCE
#define FATHOM_BACKEND_CPU_ATTENTION_ONCE
namespace fathom::cpu {

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

// Loads list entries [begin, begin + count); rows up to the next multiple of four become zero.
void load_block(const AttentionTask& task, std::int64_t begin, std::int64_t count) {
  const ops::SparseAttentionArgs& args = *task.args;
  const auto* list = args.selected.row<const std::int32_t>(task.token) + begin;
  const auto sequence = args.tokens.sequences.row<const std::int32_t>(0)[task.token];
  for (std::int64_t i = 0; i < count; ++i) {
    load_record(args.cache, place_of(args.tokens, sequence, list[i]),
                task.keys + i * task.key_width);
  }
  const std::int64_t rows = ceil_div(count, kTileColumns) * kTileColumns;
  std::fill(task.keys + count * task.key_width, task.keys + rows * task.key_width, 0.0F);
}

// Adds M heads' share of one block to their sums.
template <int M>
void add_heads(const AttentionTask& task,
               std::int64_t head,
               std::int64_t begin,
               std::int64_t count) {
  add_values<M>(task.scores + head * task.list_width + begin, task.list_width, task.keys,
                task.key_width, count, task.sums + head * task.value_width, task.value_width);
}

void write_head(const AttentionTask& task, std::int64_t head) {
  const TensorView& y = task.args->y;
  // The packed query is read by now: its row is free to hold the numbers in order.
  write_quotient(task.sums + head * task.value_width, task.denominators[head], y.shape[2],
                 task.query + head * task.key_width, y.dtype,
                 row_bytes(y, task.token, task.head_begin + head));
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
    // Padding rows select nothing: 0 / 1.
    task.denominators[head] =
        count == 0 ? 1.0F
                   : softmax_row(task.scores + head * task.list_width, count, args.scale, round);
  }
  std::fill_n(task.sums, task.heads * task.value_width, 0.0F);
  for (std::int64_t begin = 0; begin < count; begin += kListBlock) {
    const std::int64_t size = std::min(kListBlock, count - begin);
    if (count > kListBlock) load_block(task, begin, size);  // else the keys are still there
    std::int64_t head = 0;
    for (; head + 4 <= task.heads; head += 4) add_heads<4>(task, head, begin, size);
    for (; head < task.heads; ++head) add_heads<1>(task, head, begin, size);
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
