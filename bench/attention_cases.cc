#include <cstring>
#include <random>
#include <set>
#include <vector>

#include "backend/cpu/kernels.h"
#include "bench/cases.h"

namespace fathom::bench {

namespace {

constexpr std::int64_t kContext = 8192;
constexpr std::int64_t kTopK = 2048;
constexpr std::int64_t kHeads = 128;
constexpr std::int64_t kIndexHeads = 64;

config::KvLayout layout_of(DType latent) {
  config::KvLayout layout;
  layout.latent_dtype = latent;
  layout.index_dtype = DType::kF8E4M3;
  layout.latent_dim = 512;
  layout.rope_dim = 64;
  layout.index_dim = 128;
  return layout;
}

// The last tokens of one sequence of kContext tokens, whose pages lie in order.
struct Tokens {
  explicit Tokens(std::int64_t count)
      : positions(DType::kI32, {count}),
        sequences(DType::kI32, {count}),
        table(DType::kI32, {1, kContext / config::kPageTokens}) {
    for (std::int64_t i = 0; i < count; ++i) {
      positions.data<std::int32_t>()[i] = static_cast<std::int32_t>(kContext - count + i);
    }
    for (std::int64_t i = 0; i < table.view().elements(); ++i) {
      table.data<std::int32_t>()[i] = static_cast<std::int32_t>(i);
    }
  }
  ops::PagedTokens view() const { return {positions.view(), sequences.view(), table.view()}; }

  Operand positions;
  Operand sequences;
  Operand table;
};

// A cache with records as attention reads them. Its bytes are all 0x38: 1 as e4m3, 4.4e-5 as bf16
// and as a scale.
Operand make_cache(std::int64_t page_bytes) {
  return {DType::kU8, {kContext / config::kPageTokens, page_bytes}};
}

struct AttentionOperands {
  AttentionOperands(DType cache_dtype, std::int64_t count)
      : layout(layout_of(cache_dtype)),
        tokens(count),
        query(DType::kBF16, {count, kHeads, 576}),
        selected(DType::kI32, {count, kTopK}),
        counts(DType::kI32, {count}),
        cache(make_cache(layout.latent_page_bytes())),
        y(DType::kBF16, {count, kHeads, 512}) {
    // Every fourth position on average, ascending, another one in every row.
    std::mt19937 random(1);
    for (std::int64_t t = 0; t < count; ++t) {
      for (std::int64_t i = 0; i < kTopK; ++i) {
        selected.data<std::int32_t>()[t * kTopK + i] =
            static_cast<std::int32_t>(4 * i + static_cast<std::int64_t>(random() % 4));
      }
      counts.data<std::int32_t>()[t] = static_cast<std::int32_t>(kTopK);
    }
  }

  config::KvLayout layout;
  Tokens tokens;
  Operand query;
  Operand selected;
  Operand counts;
  Operand cache;
  Operand y;
};

void register_attention(DType cache_dtype, std::int64_t count, int threads) {
  const auto operands = std::make_shared<AttentionOperands>(cache_dtype, count);
  Work work;
  work.bytes = static_cast<double>(count * kTopK * operands->layout.latent_record_bytes());
  work.flops = 2.0 * static_cast<double>(count * kHeads * kTopK * (576 + 512));
  work.threads = threads;
  register_case("attention " + std::string(dtype_name(cache_dtype)) + " cache, 128 heads, " +
                    std::to_string(count) + " tokens",
                work, [operands](cpu::CpuStream& stream) {
                  ops::SparseAttentionArgs args;
                  args.query = operands->query.view();
                  args.selected = operands->selected.view();
                  args.count = operands->counts.view();
                  args.tokens = operands->tokens.view();
                  args.cache = {operands->cache.view(), operands->layout};
                  args.y = operands->y.view();
                  args.scale = 0.01F;
                  cpu::sparse_attention(stream, args);
                });
}

struct IndexOperands {
  explicit IndexOperands(std::int64_t count)
      : layout(layout_of(DType::kBF16)),
        tokens(count),
        query(DType::kF8E4M3, {count, kIndexHeads, 128}),
        query_scales(DType::kF32, {count, kIndexHeads}),
        weights(DType::kF32, {count, kIndexHeads}),
        cache(make_cache(layout.index_page_bytes())),
        scores(DType::kF32, {count, kContext}) {}

  config::KvLayout layout;
  Tokens tokens;
  Operand query;
  Operand query_scales;
  Operand weights;
  Operand cache;
  Operand scores;
};

void register_index_scores(std::int64_t count, int threads) {
  const auto operands = std::make_shared<IndexOperands>(count);
  Work work;
  work.bytes = static_cast<double>(kContext * operands->layout.index_record_bytes());
  work.flops = 2.0 * static_cast<double>(count * kIndexHeads * kContext * 129);
  work.threads = threads;
  register_case("index_scores 64 heads, 8192 keys, " + std::to_string(count) + " tokens", work,
                [operands](cpu::CpuStream& stream) {
                  ops::IndexScoresArgs args;
                  args.query = operands->query.view();
                  args.query_scales = operands->query_scales.view();
                  args.weights = operands->weights.view();
                  args.tokens = operands->tokens.view();
                  args.cache = {operands->cache.view(), operands->layout};
                  args.scores = operands->scores.view();
                  cpu::index_scores(stream, args);
                });
}

struct SelectOperands {
  explicit SelectOperands(std::int64_t width)
      : scores(DType::kF32, {1, width}),
        position(DType::kI32, {1}),
        selected(DType::kI32, {1, kTopK}),
        count(DType::kI32, {1}) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    for (std::int64_t i = 0; i < width; ++i) scores.data<float>()[i] = normal(random);
    position.data<std::int32_t>()[0] = static_cast<std::int32_t>(width - 1);
  }

  Operand scores;
  Operand position;
  Operand selected;
  Operand count;
};

void register_select(std::int64_t width, const std::string& name) {
  const auto operands = std::make_shared<SelectOperands>(width);
  Work work;
  work.bytes = operands->scores.bytes();
  register_case("select 2048 of " + name, work, [operands](cpu::CpuStream& stream) {
    cpu::select(stream, {operands->scores.view(), operands->position.view(),
                         operands->selected.view(), operands->count.view()});
  });
}

}  // namespace

void register_attention_cases(int threads) {
  for (const DType dtype : {DType::kBF16, DType::kF8E4M3}) {
    for (const int used : std::set<int>{1, threads}) register_attention(dtype, 1, used);
    register_attention(dtype, 8, threads);
  }
  for (const int used : std::set<int>{1, threads}) register_index_scores(1, used);
  register_index_scores(16, threads);
  register_select(8192, "8k");
  register_select(131072, "128k");
}

}  // namespace fathom::bench
