#include <algorithm>
#include <cstdint>
#include <cstring>

#include "backend/cpu/kernels.h"
#include "backend/cpu/list_block.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/row_buffer.h"
#include "base/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/expanded_attention.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/attention-inl.h"

#ifndef FATHOM_BACKEND_CPU_EXPANDED_ATTENTION_ONCE
#define FATHOM_BACKEND_CPU_EXPANDED_ATTENTION_ONCE
namespace fathom::cpu {

// Neighbouring tokens of one task. Their lists have most blocks in common, in a dense prompt all
// but the last, and a block of keys or values is widened once for all of them.
inline constexpr std::int64_t kTaskTokens = 12;

// Some tokens and one head. Widths in floats, rows packed (linear_kernels.h).
struct ExpandedTask {
  const ops::ExpandedAttentionArgs* args = nullptr;
  std::int64_t head = 0;
  std::int64_t token_begin = 0;
  std::int64_t tokens = 0;
  float* query = nullptr;   // [kTaskTokens, key_width]
  float* block = nullptr;   // [kListBlock, key_width] of keys, later [.., value_width] of values
  float* row = nullptr;     // [wider of key_width and value_width]: one row in order
  float* scores = nullptr;  // [kTaskTokens, list_width]
  float* sums = nullptr;    // [kTaskTokens, value_width]
  float* denominators = nullptr;  // [kTaskTokens]
  std::int64_t key_width = 0;
  std::int64_t value_width = 0;
  std::int64_t list_width = 0;

  const std::int32_t* list(std::int64_t token) const {
    return args->selected.row<const std::int32_t>(token_begin + token);
  }
  std::int64_t count(std::int64_t token) const {
    return args->count.row<const std::int32_t>(0)[token_begin + token];
  }
  // Entries of a token's list in the block that begins at entry `begin`.
  std::int64_t size(std::int64_t token, std::int64_t begin) const {
    return std::clamp<std::int64_t>(count(token) - begin, 0, kListBlock);
  }
};

// The tokens from `first` on whose lists agree in one block: each one's entries begin the next
// one's, so that the last token's entries serve them all. Returns the end of the run.
inline std::int64_t end_of_run(const ExpandedTask& task, std::int64_t first, std::int64_t begin) {
  std::int64_t end = first + 1;
  for (; end < task.tokens; ++end) {
    const std::int64_t size = task.size(end - 1, begin);
    if (size > task.size(end, begin)) break;
    const auto bytes = static_cast<std::size_t>(size) * sizeof(std::int32_t);
    if (std::memcmp(task.list(end - 1) + begin, task.list(end) + begin, bytes) != 0) break;
  }
  return end;
}

}  // namespace fathom::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {
namespace {

void pack_any(DType dtype, const void* from, std::int64_t width, float* to) {
  if (dtype == DType::kF32) return pack(static_cast<const float*>(from), width, to);
  pack(static_cast<const BFloat16*>(from), width, to);
}

// The key of one position: both parts side by side, as the query has them.
void load_key(const ExpandedTask& task, std::int64_t position, float* to) {
  const ops::ExpandedAttentionArgs& args = *task.args;
  const std::size_t element = size_of(args.key.dtype);
  const auto plain = static_cast<std::size_t>(args.key.shape[2]) * element;
  const auto rotated = static_cast<std::size_t>(args.key_rope.shape[1]) * element;
  auto* joined = reinterpret_cast<std::byte*>(task.row);
  std::memcpy(joined, row_bytes(args.key, position, task.head), plain);
  std::memcpy(joined + plain, row_bytes(args.key_rope, position), rotated);
  pack_any(args.key.dtype, joined, args.query.shape[2], to);
}

// scores[token, begin + i] of one block, for the tokens [first, end) of a run.
void score_run(const ExpandedTask& task, std::int64_t first, std::int64_t end, std::int64_t begin) {
  const std::int64_t size = task.size(end - 1, begin);
  const std::int32_t* list = task.list(end - 1) + begin;
  for (std::int64_t i = 0; i < size; ++i) {
    load_key(task, list[i], task.block + i * task.key_width);
  }
  const std::int64_t rows = ceil_div(size, kTileColumns) * kTileColumns;
  std::fill(task.block + size * task.key_width, task.block + rows * task.key_width, 0.0F);
  dot_rows(task.query + first * task.key_width, end - first, task.block, rows, task.key_width,
           task.scores + first * task.list_width + begin, task.list_width);
}

// Adds the values of one block to the sums of the tokens [first, end) of a run.
void add_run(const ExpandedTask& task, std::int64_t first, std::int64_t end, std::int64_t begin) {
  const TensorView& value = task.args->value;
  const std::int64_t size = task.size(end - 1, begin);
  const std::int32_t* list = task.list(end - 1) + begin;
  for (std::int64_t i = 0; i < size; ++i) {
    pack_any(value.dtype, row_bytes(value, list[i], task.head), value.shape[2],
             task.block + i * task.value_width);
  }
  for (std::int64_t token = first; token < end;) {
    const float* p = task.scores + token * task.list_width + begin;
    float* sums = task.sums + token * task.value_width;
    const std::int64_t own = task.size(token, begin);
    // Sizes ascend in a run: equal ends mean equal sizes between them.
    if (token + 4 <= end && task.size(token + 3, begin) == own) {
      add_values<4>(p, task.list_width, task.block, task.value_width, own, sums, task.value_width);
      token += 4;
    } else {
      add_values<1>(p, task.list_width, task.block, task.value_width, own, sums, task.value_width);
      ++token;
    }
  }
}

void expanded_task_target(const ExpandedTask& task) {
  const ops::ExpandedAttentionArgs& args = *task.args;
  std::int64_t longest = 0;
  for (std::int64_t token = 0; token < task.tokens; ++token) {
    const std::int64_t count = task.count(token);
    FATHOM_CHECK(task.list(token)[count - 1] < args.key.shape[0]);
    longest = std::max(longest, count);
    pack_any(args.query.dtype, row_bytes(args.query, task.token_begin + token, task.head),
             args.query.shape[2], task.query + token * task.key_width);
  }
  for (std::int64_t begin = 0; begin < longest; begin += kListBlock) {
    for (std::int64_t first = 0; first < task.tokens;) {
      const std::int64_t end = end_of_run(task, first, begin);
      score_run(task, first, end, begin);
      first = end;
    }
  }
  const bool round = args.query.dtype == DType::kBF16;
  for (std::int64_t token = 0; token < task.tokens; ++token) {
    task.denominators[token] =
        softmax_row(task.scores + token * task.list_width, task.count(token), args.scale, round);
  }
  std::fill_n(task.sums, task.tokens * task.value_width, 0.0F);
  for (std::int64_t begin = 0; begin < longest; begin += kListBlock) {
    for (std::int64_t first = 0; first < task.tokens;) {
      const std::int64_t end = end_of_run(task, first, begin);
      add_run(task, first, end, begin);
      first = end;
    }
  }
  for (std::int64_t token = 0; token < task.tokens; ++token) {
    write_quotient(task.sums + token * task.value_width, task.denominators[token], args.y.shape[2],
                   task.row, args.y.dtype, row_bytes(args.y, task.token_begin + token, task.head));
  }
}

}  // namespace
}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(expanded_task_target);

void expanded_attention(CpuStream& stream, const ops::ExpandedAttentionArgs& args) {
  const std::int64_t tokens = args.query.shape[0];
  const std::int64_t heads = args.query.shape[1];
  if (tokens == 0 || heads == 0) return;
  ExpandedTask task;
  task.args = &args;
  task.key_width = padded(args.query.shape[2]);
  task.value_width = padded(args.value.shape[2]);
  task.list_width = padded(args.selected.shape[1]);
  const std::int64_t wider = std::max(task.key_width, task.value_width);
  const std::int64_t floats =
      (kListBlock + 1) * wider +
      kTaskTokens * (task.key_width + task.value_width + task.list_width + 1);
  std::int64_t entries = 0;
  for (std::int64_t t = 0; t < tokens; ++t) entries += args.count.row<const std::int32_t>(0)[t];

  // Head by head, so that neighbouring tasks read the same keys.
  const std::int64_t tasks_each = ceil_div(tokens, kTaskTokens);
  parallel_tasks(stream, heads * tasks_each, entries * heads * task.key_width,
                 [&](std::int64_t begin, std::int64_t end, int worker) {
                   ExpandedTask mine = task;
                   mine.block = static_cast<float*>(stream.worker_scratch(
                       worker, static_cast<std::size_t>(floats) * sizeof(float)));
                   mine.row = mine.block + kListBlock * wider;
                   mine.query = mine.row + wider;
                   mine.sums = mine.query + kTaskTokens * task.key_width;
                   mine.scores = mine.sums + kTaskTokens * task.value_width;
                   mine.denominators = mine.scores + kTaskTokens * task.list_width;
                   for (std::int64_t i = begin; i < end; ++i) {
                     mine.head = i / tasks_each;
                     mine.token_begin = i % tasks_each * kTaskTokens;
                     mine.tokens = std::min(kTaskTokens, tokens - mine.token_begin);
                     HWY_DYNAMIC_DISPATCH(expanded_task_target)(mine);
                   }
                 });
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE
