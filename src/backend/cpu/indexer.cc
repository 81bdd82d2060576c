#include <algorithm>
#include <cmath>

#include "backend/cpu/kernels.h"
#include "backend/cpu/linear_kernels.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/row_buffer.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/indexer.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/lanes-inl.h"

#ifndef FATHOM_BACKEND_CPU_INDEXER_ONCE
#define FATHOM_BACKEND_CPU_INDEXER_ONCE
namespace fathom::cpu {

inline constexpr std::int64_t kPage = config::kPageTokens;

// Consecutive rows of one sequence against a range of its pages.
struct IndexTask {
  const ops::IndexScoresArgs* args = nullptr;
  std::int64_t first_token = 0;
  std::int64_t tokens = 0;
  std::int64_t page_begin = 0;
  std::int64_t page_end = 0;
  std::int64_t width = 0;   // packed width of a key
  float* query = nullptr;   // [tokens * heads, width]
  float* weight = nullptr;  // [tokens * heads]
  float* keys = nullptr;    // [64, width]
  float* dots = nullptr;    // [tokens * heads, 64]
};

}  // namespace fathom::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {
namespace {

void load_queries(const IndexTask& task) {
  const ops::IndexScoresArgs& args = *task.args;
  const std::int64_t heads = args.query.shape[1];
  const std::int64_t dim = args.query.shape[2];
  const float by_heads = 1.0F / std::sqrt(static_cast<float>(heads));
  const float by_dim = 1.0F / std::sqrt(static_cast<float>(dim));
  for (std::int64_t i = 0; i < task.tokens * heads; ++i) {
    const std::int64_t token = task.first_token + i / heads;
    const std::int64_t head = i % heads;
    float* to = task.query + i * task.width;
    float weight = args.weights.row<float>(token)[head] * by_heads;
    if (args.query.dtype == DType::kF32) {
      pack(args.query.row<float>(token, head), dim, to);
    } else {
      pack(args.query.row<Float8E4M3>(token, head), dim, to);
      weight *= args.query_scales.row<float>(token)[head];
    }
    task.weight[i] = weight * by_dim;
  }
}

void load_keys(const IndexTask& task, const std::byte* page, std::int64_t count) {
  const std::int64_t dim = task.args->query.shape[2];
  for (std::int64_t slot = 0; slot < kPage; ++slot) {
    float* to = task.keys + slot * task.width;
    if (slot >= count) {
      std::fill_n(to, task.width, 0.0F);
    } else if (task.args->cache.layout.index_dtype == DType::kF32) {
      pack(reinterpret_cast<const float*>(page) + slot * dim, dim, to);
    } else {
      pack(reinterpret_cast<const Float8E4M3*>(page) + slot * dim, dim, to);
    }
  }
}

// Eight keys of one token: lane h mod 16 adds head h in ascending order, the tree adds the lanes.
F32x8 head_sum(const float* dots, const float* weight, std::int64_t heads) {
  const F32x8 zero = zero8();
  const auto lane = [&](std::int64_t first) {
    F32x8 sum = zero;
    for (std::int64_t h = first; h < heads; h += kLanes) {
      sum = fma8(set8(weight[h]), max8(load8(dots + h * kPage), zero), sum);
    }
    return sum;
  };
  const auto pair = [&](std::int64_t i) { return add8(lane(2 * i), lane(2 * i + 1)); };
  const auto quad = [&](std::int64_t i) { return add8(pair(i), pair(i + 4)); };
  const auto half = [&](std::int64_t i) { return add8(quad(i), quad(i + 2)); };
  return add8(half(0), half(1));
}

void score_page(const IndexTask& task, std::int64_t page_index, const std::byte* page) {
  const ops::IndexScoresArgs& args = *task.args;
  const std::int64_t heads = args.query.shape[1];
  const bool scaled = args.cache.layout.index_dtype == DType::kF8E4M3;
  for (std::int64_t t = 0; t < task.tokens; ++t) {
    const std::int64_t token = task.first_token + t;
    const std::int64_t visible = args.tokens.positions.row<std::int32_t>(0)[token] + 1;
    const std::int64_t count = std::min(kPage, visible - page_index * kPage);
    float* scores = args.scores.row<float>(token) + page_index * kPage;
    for (std::int64_t slot = 0; slot < count; slot += 8) {
      F32x8 sum = head_sum(task.dots + t * heads * kPage + slot, task.weight + t * heads, heads);
      if (scaled) {
        const auto offset = args.cache.layout.index_scale_offset(static_cast<std::int32_t>(slot));
        sum = mul8(sum, load8(reinterpret_cast<const float*>(page + offset)));
      }
      if (slot + 8 <= count) {
        store8(sum, scores + slot);
      } else {
        alignas(32) float last[8];  // NOLINT(*-avoid-c-arrays)
        store8(sum, last);
        std::copy_n(last, count - slot, scores + slot);
      }
    }
  }
}

void index_task_target(const IndexTask& task) {
  const ops::IndexScoresArgs& args = *task.args;
  const std::int64_t heads = args.query.shape[1];
  const auto* positions = args.tokens.positions.row<std::int32_t>(0);
  const auto sequence = args.tokens.sequences.row<std::int32_t>(0)[task.first_token];
  const auto* pages = args.tokens.page_table.row<std::int32_t>(sequence);
  std::int64_t visible = 0;
  for (std::int64_t t = 0; t < task.tokens; ++t) {
    visible = std::max<std::int64_t>(visible, positions[task.first_token + t] + 1);
  }
  const std::int64_t page_end = std::min(task.page_end, ceil_div(visible, kPage));
  if (task.page_begin >= page_end) return;
  load_queries(task);
  for (std::int64_t i = task.page_begin; i < page_end; ++i) {
    const std::byte* page = args.cache.bytes.row<std::byte>(pages[i]);
    load_keys(task, page, std::min(kPage, visible - i * kPage));
    dot_rows(task.query, task.tokens * heads, task.keys, kPage, task.width, task.dots, kPage);
    score_page(task, i, page);
  }
}

}  // namespace
}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(index_task_target);

void index_scores(CpuStream& stream, const ops::IndexScoresArgs& args) {
  const std::int64_t tokens = args.query.shape[0];
  if (tokens == 0) return;
  const std::int64_t heads = args.query.shape[1];
  const auto* positions = args.tokens.positions.row<std::int32_t>(0);
  const auto* sequences = args.tokens.sequences.row<std::int32_t>(0);
  std::int64_t longest = 0;
  for (std::int64_t t = 0; t < tokens; ++t) {
    longest = std::max<std::int64_t>(longest, positions[t] + 1);
  }
  // Rows of one task share the decoding of a page; about 64 query rows fill the kernel.
  const std::int64_t rows_each = std::clamp<std::int64_t>(64 / heads, 1, 16);
  constexpr std::int64_t kPagesEach = 16;
  const std::int64_t page_parts = ceil_div(ceil_div(longest, kPage), kPagesEach);
  const std::int64_t row_parts = ceil_div(tokens, rows_each);

  IndexTask task;
  task.args = &args;
  task.width = padded(args.query.shape[2]);
  const std::int64_t query_rows = rows_each * heads;
  const std::int64_t floats =
      kPage * task.width + query_rows * (task.width + kPage) + padded(query_rows);
  parallel_tasks(stream, row_parts * page_parts, tokens * heads * longest * task.width,
                 [&](std::int64_t begin, std::int64_t end, int worker) {
                   IndexTask mine = task;
                   mine.keys = static_cast<float*>(stream.worker_scratch(
                       worker, static_cast<std::size_t>(floats) * sizeof(float)));
                   mine.query = mine.keys + kPage * task.width;
                   mine.dots = mine.query + query_rows * task.width;
                   mine.weight = mine.dots + query_rows * kPage;
                   for (std::int64_t i = begin; i < end; ++i) {
                     mine.page_begin = i % page_parts * kPagesEach;
                     mine.page_end = mine.page_begin + kPagesEach;
                     const std::int64_t last = std::min((i / page_parts + 1) * rows_each, tokens);
                     for (std::int64_t row = i / page_parts * rows_each; row < last;) {
                       std::int64_t run = 1;
                       while (row + run < last && sequences[row + run] == sequences[row]) ++run;
                       mine.first_token = row;
                       mine.tokens = run;
                       HWY_DYNAMIC_DISPATCH(index_task_target)(mine);
                       row += run;
                     }
                   }
                 });
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE
