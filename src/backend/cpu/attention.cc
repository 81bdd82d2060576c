#include <algorithm>
#include <cmath>
#include <limits>

#include "backend/cpu/kernels.h"
#include "backend/cpu/linear_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/attention.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/lanes-inl.h"

#ifndef FATHOM_BACKEND_CPU_ATTENTION_ONCE
#define FATHOM_BACKEND_CPU_ATTENTION_ONCE
namespace fathom::cpu {

// List entries of one block of the canonical order.
inline constexpr std::int64_t kListBlock = 64;

// Some heads of one token. Widths in floats, rows packed (linear_kernels.h).
struct AttentionTask {
  const ops::SparseAttentionArgs* args = nullptr;
  std::int64_t token = 0;
  std::int64_t head_begin = 0;
  std::int64_t heads = 0;
  float* query = nullptr;   // [heads, key_width]
  float* keys = nullptr;    // [kListBlock, key_width]
  float* scores = nullptr;  // [heads, list_width]
  float* sums = nullptr;    // [heads, value_width]
  std::int64_t key_width = 0;
  std::int64_t value_width = 0;
  std::int64_t list_width = 0;
};

}  // namespace fathom::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {
namespace {

// One cached record as a packed row of c + r numbers.
void load_key(const ops::CacheView& cache, std::int64_t slot, std::int64_t page, float* to) {
  const config::KvLayout& layout = cache.layout;
  const std::byte* record = cache.bytes.row<std::byte>(page) + slot * layout.latent_record_bytes();
  const std::int64_t width = layout.latent_dim + layout.rope_dim;
  if (layout.latent_dtype == DType::kF32) {
    return pack(reinterpret_cast<const float*>(record), width, to);
  }
  if (layout.latent_dtype == DType::kBF16) {
    return pack(reinterpret_cast<const BFloat16*>(record), width, to);
  }
  const auto* values = reinterpret_cast<const Float8E4M3*>(record);
  const auto* scales = reinterpret_cast<const float*>(record + layout.latent_scales_offset());
  const auto* rope = reinterpret_cast<const BFloat16*>(record + layout.latent_rope_offset());
  if (layout.latent_dim % kLanes != 0 || layout.latent_scales_offset() % 4 != 0) {
    FATHOM_CHECK(false);  // validate() lets nothing else through
  }
  for (std::int64_t k = 0; k < layout.latent_dim; k += kLanes) {
    const F32x8 scale = set8(scales[k / kScaleBlock]);
    const Pair pair = load16(values + k);
    store8(mul8(pair.even, scale), to + k);
    store8(mul8(pair.odd, scale), to + k + 8);
  }
  pack(rope, layout.rope_dim, to + layout.latent_dim);
}

// Loads list entries [begin, begin + count); rows up to the next multiple of four become zero.
void load_block(const AttentionTask& task, std::int64_t begin, std::int64_t count) {
  const ops::SparseAttentionArgs& args = *task.args;
  const auto* list = args.selected.row<std::int32_t>(task.token) + begin;
  const auto sequence = args.tokens.sequences.row<std::int32_t>(0)[task.token];
  const auto* pages = args.tokens.page_table.row<std::int32_t>(sequence);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int32_t position = list[i];
    load_key(args.cache, position % config::kPageTokens, pages[position / config::kPageTokens],
             task.keys + i * task.key_width);
  }
  const std::int64_t padded = ceil_div(count, kTileColumns) * kTileColumns;
  std::fill(task.keys + count * task.key_width, task.keys + padded * task.key_width, 0.0F);
}

// scores → p = exp(score − max), rounded for the value sum when `round`; returns Σ p before that
// rounding.
float softmax_row(float* scores, std::int64_t count, float scale, bool round) {
  float largest = -std::numeric_limits<float>::infinity();
  for (std::int64_t i = 0; i < count; ++i) {
    scores[i] *= scale;
    largest = std::max(largest, scores[i]);
  }
  const std::int64_t padded = packed_width(count);
  const F32x8 shift = set8(largest);
  for (std::int64_t i = 0; i < padded; i += 8) {
    store8(exp8(sub8(load8(scores + i), shift)), scores + i);
  }
  std::fill(scores + count, scores + padded, 0.0F);
  float sum = 0;
  for (std::int64_t begin = 0; begin < padded; begin += kListBlock) {
    F32x8 low = zero8();
    F32x8 high = zero8();
    for (std::int64_t i = begin; i < std::min(begin + kListBlock, padded); i += kLanes) {
      low = add8(low, load8(scores + i));
      high = add8(high, load8(scores + i + 8));
    }
    sum += reduce_natural(low, high);
  }
  if (round) {
    for (std::int64_t i = 0; i < count; ++i) scores[i] = to_float(to_bfloat16(scores[i]));
  }
  return sum;
}

// sums[m, :] += Σ_i p[m, i] · keys[i, :] over one block, for M heads.
template <int M>
HWY_INLINE void add_values(const AttentionTask& task,
                           std::int64_t head,
                           std::int64_t begin,
                           std::int64_t count) {
  constexpr int kVectors = 2;
  const float* p = task.scores + head * task.list_width + begin;
  for (std::int64_t k = 0; k < task.value_width; k += 8 * kVectors) {
    F32x8 block[M][kVectors];  // NOLINT(*-avoid-c-arrays)
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

void write_head(const AttentionTask& task, std::int64_t head, float denominator) {
  const TensorView& y = task.args->y;
  float* sum = task.sums + head * task.value_width;
  for (std::int64_t k = 0; k < task.value_width; k += 8) {
    store8(div8(load8(sum + k), set8(denominator)), sum + k);
  }
  const std::int64_t width = task.args->cache.layout.latent_dim;
  if (y.dtype == DType::kF32) {
    return unpack_row(sum, width, y.row<float>(task.token, task.head_begin + head));
  }
  // The packed query is read by now: its row is free to hold the numbers in order.
  float* natural = task.query + head * task.key_width;
  unpack_row(sum, width, natural);
  auto* to = y.row<BFloat16>(task.token, task.head_begin + head);
  for (std::int64_t k = 0; k < width; ++k) to[k] = to_bfloat16(natural[k]);
}

void attention_task_target(const AttentionTask& task) {
  const ops::SparseAttentionArgs& args = *task.args;
  const std::int64_t count = args.count.row<std::int32_t>(0)[task.token];
  const std::int64_t width = args.query.shape[2];
  for (std::int64_t head = 0; head < task.heads; ++head) {
    float* to = task.query + head * task.key_width;
    if (args.query.dtype == DType::kF32) {
      pack(args.query.row<float>(task.token, task.head_begin + head), width, to);
    } else {
      pack(args.query.row<BFloat16>(task.token, task.head_begin + head), width, to);
    }
  }
  for (std::int64_t begin = 0; begin < count; begin += kListBlock) {
    const std::int64_t size = std::min(kListBlock, count - begin);
    load_block(task, begin, size);
    dot_rows(task.query, task.heads, task.keys, ceil_div(size, kTileColumns) * kTileColumns,
             task.key_width, task.scores + begin, task.list_width);
  }
  std::fill_n(task.sums, task.heads * task.value_width, 0.0F);
  // The denominators wait in the first number behind each head's list.
  for (std::int64_t head = 0; head < task.heads; ++head) {
    float* scores = task.scores + head * task.list_width;
    const float sum = softmax_row(scores, count, args.scale, args.query.dtype == DType::kBF16);
    scores[task.list_width - 1] = sum;
  }
  for (std::int64_t begin = 0; begin < count; begin += kListBlock) {
    const std::int64_t size = std::min(kListBlock, count - begin);
    if (count > kListBlock) load_block(task, begin, size);  // else the keys are still there
    std::int64_t head = 0;
    for (; head + 4 <= task.heads; head += 4) add_values<4>(task, head, begin, size);
    for (; head < task.heads; ++head) add_values<1>(task, head, begin, size);
  }
  for (std::int64_t head = 0; head < task.heads; ++head) {
    write_head(task, head, task.scores[head * task.list_width + task.list_width - 1]);
  }
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
  task.key_width = packed_width(args.query.shape[2]);
  task.value_width = packed_width(args.cache.layout.latent_dim);
  task.list_width = packed_width(args.selected.shape[1]) + 16;
  const std::int64_t floats = heads_each * (task.key_width + task.list_width + task.value_width) +
                              kListBlock * task.key_width;
  const auto body = [&](std::size_t begin, std::size_t end, int worker) {
    AttentionTask mine = task;
    mine.keys = static_cast<float*>(
        stream.worker_scratch(worker, static_cast<std::size_t>(floats) * sizeof(float)));
    mine.query = mine.keys + kListBlock * task.key_width;
    mine.sums = mine.query + heads_each * task.key_width;
    mine.scores = mine.sums + heads_each * task.value_width;
    for (auto i = static_cast<std::int64_t>(begin); i < static_cast<std::int64_t>(end); ++i) {
      mine.token = i / parts_used;
      mine.head_begin = i % parts_used * heads_each;
      mine.heads = std::min(heads_each, heads - mine.head_begin);
      HWY_DYNAMIC_DISPATCH(attention_task_target)(mine);
    }
  };
  const auto tasks = static_cast<std::size_t>(tokens * parts_used);
  std::int64_t work = 0;
  for (std::int64_t t = 0; t < tokens; ++t) {
    work += args.count.row<std::int32_t>(0)[t] * heads * task.key_width;
  }
  constexpr std::int64_t kSerialWork = std::int64_t{1} << 16;
  if (work < kSerialWork) {
    body(0, tasks, 0);
  } else {
    stream.pool().parallel_for(tasks, 1, body);
  }
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE
