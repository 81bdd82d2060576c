#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/attention_testing.h"
#include "backend/cpu/instruction_sets_testing.h"
#include "backend/cpu/kernel_testing.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/paged_testing.h"

namespace fathom::cpu {
namespace {

constexpr std::int64_t kSequences = 3;
constexpr std::int64_t kPagesEach = 6;
constexpr std::int64_t kLongest = kPagesEach * config::kPageTokens;
// Room for the longest list, and some behind it.
constexpr std::int64_t kListRoom = 203;

config::KvLayout layout_of(DType latent, std::int32_t c, std::int32_t r) {
  config::KvLayout layout;
  layout.latent_dtype = latent;
  layout.latent_dim = c;
  layout.rope_dim = r;
  layout.index_dim = 32;
  return layout;
}

// One step's operands: for each token a random list of the positions it sees, of the length asked
// for. Only positions on a list are written to the cache.
class Step {
 public:
  Step(const config::KvLayout& layout,
       DType activation,
       std::int64_t heads,
       const std::vector<std::int64_t>& list_lengths,
       std::mt19937& random)
      : layout_(layout),
        tokens_(static_cast<std::int64_t>(list_lengths.size())),
        heads_(heads),
        activation_(activation),
        cache_(layout, layout.latent_page_bytes(), kSequences, kPagesEach, random),
        query_(activation,
               {tokens_, heads, layout.latent_dim + std::int64_t{layout.rope_dim}},
               /*margin=*/2),
        selected_(DType::kI32, {tokens_, kListRoom}, /*margin=*/1),
        count_(DType::kI32, {tokens_}),
        positions_(DType::kI32, {tokens_}),
        sequences_(DType::kI32, {tokens_}) {
    fill_small(query_, random);
    for (std::int64_t t = 0; t < tokens_; ++t) {
      add_list(t, list_lengths[static_cast<std::size_t>(t)], random);
    }
  }

  // What the kernel is handed for the rows [begin, begin + count).
  ops::SparseAttentionArgs args(std::int64_t begin, std::int64_t count, TensorView y) {
    ops::SparseAttentionArgs args;
    args.query = query_.view().rows(begin, count);
    args.selected = selected_.view().rows(begin, count);
    args.count = count_.view().rows(begin, count);
    args.tokens = {positions_.view().rows(begin, count), sequences_.view().rows(begin, count),
                   cache_.table()};
    args.cache = cache_.view();
    args.y = y;
    args.scale = kScale;
    return args;
  }

  std::int64_t tokens() const { return tokens_; }
  std::int64_t heads() const { return heads_; }
  DType activation() const { return activation_; }
  std::int64_t value_width() const { return layout_.latent_dim; }
  std::int64_t list_length(std::int64_t token) const { return count_.get_int(token); }
  // Key of the i-th entry of a token's list.
  const Row& key(std::int64_t token, std::int64_t i) const {
    return keys_.at({sequences_.get_int(token), selected_.get_int(token * kListRoom + i)});
  }
  Row query(std::int64_t token, std::int64_t head) const {
    const std::int64_t width = layout_.latent_dim + std::int64_t{layout_.rope_dim};
    Row row;
    for (std::int64_t k = 0; k < width; ++k) {
      row.push_back(query_.get((token * heads_ + head) * width + k));
    }
    return row;
  }

  static constexpr float kScale = 0.1352337789F;

 private:
  // Small enough that scores stay within a few units and no probability dominates.
  static void fill_small(HostTensor& tensor, std::mt19937& random) {
    std::normal_distribution<float> normal(0, 0.5F);
    for (std::int64_t i = 0; i < tensor.elements(); ++i) tensor.set(i, normal(random));
  }

  void add_list(std::int64_t token, std::int64_t length, std::mt19937& random) {
    const auto sequence = static_cast<std::int32_t>(random() % kSequences);
    const auto position = static_cast<std::int32_t>(
        length - 1 + static_cast<std::int64_t>(random() % (kLongest - 200)));
    std::vector<std::int32_t> seen(static_cast<std::size_t>(position) + 1);
    std::iota(seen.begin(), seen.end(), 0);
    std::vector<std::int32_t> list;
    std::sample(seen.begin(), seen.end(), std::back_inserter(list), length, random);
    for (std::int64_t i = 0; i < kListRoom; ++i) {
      const bool listed = i < length;
      // Behind the list stands what would lead far outside of everything.
      const std::int32_t far = i % 2 == 0 ? -1 : 1 << 30;
      const std::int32_t entry = listed ? list[static_cast<std::size_t>(i)] : far;
      selected_.set_int(token * kListRoom + i, entry);
      if (listed && keys_.find({sequence, entry}) == keys_.end()) {
        write_key(sequence, entry, random);
      }
    }
    count_.set_int(token, static_cast<std::int32_t>(length));
    positions_.set_int(token, position);
    sequences_.set_int(token, sequence);
  }

  void write_key(std::int32_t sequence, std::int32_t position, std::mt19937& random) {
    const std::int64_t c = layout_.latent_dim;
    const std::int64_t r = layout_.rope_dim;
    const bool exact = layout_.latent_dtype == DType::kF32;
    HostTensor latent(layout_.latent_dtype, {c});
    HostTensor rope(exact ? DType::kF32 : DType::kBF16, {r});
    fill_small(latent, random);
    fill_small(rope, random);
    std::byte* record = cache_.page_of(sequence, position) +
                        position % config::kPageTokens * layout_.latent_record_bytes();
    copy(latent, record);
    copy(rope, record + layout_.latent_rope_offset());

    Row key;
    for (std::int64_t k = 0; k < c; ++k) key.push_back(latent.get(k));
    for (std::int64_t k = 0; k < r; ++k) key.push_back(rope.get(k));
    if (layout_.latent_dtype == DType::kF8E4M3) {
      HostTensor scales(DType::kF32, {ceil_div(c, kScaleBlock)});
      std::uniform_real_distribution<float> uniform(0.5F, 2.0F);
      for (std::int64_t i = 0; i < scales.elements(); ++i) scales.set(i, uniform(random));
      copy(scales, record + layout_.latent_scales_offset());
      for (std::int64_t k = 0; k < c; ++k) {
        key[static_cast<std::size_t>(k)] *= scales.get(k / kScaleBlock);
      }
    }
    keys_[{sequence, position}] = std::move(key);
  }

  static void copy(const HostTensor& from, std::byte* to) {
    const std::vector<std::byte> bytes = from.content();
    std::memcpy(to, bytes.data(), bytes.size());
  }

  config::KvLayout layout_;
  std::int64_t tokens_;
  std::int64_t heads_;
  DType activation_;
  PagedCache cache_;
  HostTensor query_;
  HostTensor selected_;
  HostTensor count_;
  HostTensor positions_;
  HostTensor sequences_;
  std::map<std::pair<std::int32_t, std::int32_t>, Row> keys_;
};

// One head of one token, by the definition.
Row attend(const Step& step, std::int64_t token, std::int64_t head) {
  std::vector<Row> keys;
  std::vector<Row> values;
  for (std::int64_t i = 0; i < step.list_length(token); ++i) {
    const Row& key = keys.emplace_back(step.key(token, i));
    values.emplace_back(key.begin(), key.begin() + step.value_width());
  }
  return attend_by_definition(step.query(token, head), keys, values, Step::kScale,
                              step.activation());
}

// One row more than the kernel writes; it must stay poison.
HostTensor room_for(const Step& step) {
  return {step.activation(), {step.tokens() + 1, step.heads(), step.value_width()}, /*margin=*/3};
}

void expect_canonical(Step& step, CpuStream& stream) {
  HostTensor y = room_for(step);
  sparse_attention(stream, step.args(0, step.tokens(), y.view().rows(0, step.tokens())));
  std::int64_t at = 0;
  for (std::int64_t t = 0; t < step.tokens(); ++t) {
    for (std::int64_t head = 0; head < step.heads(); ++head) {
      for (const float want : attend(step, t, head)) {
        ASSERT_EQ(bits_of(y.get(at)), bits_of(want))
            << "token " << t << ", head " << head << ", element " << at % step.value_width()
            << ", list of " << step.list_length(t);
        ++at;
      }
    }
  }
  for (; at < y.elements(); ++at) ASSERT_TRUE(std::isnan(y.get(at))) << "wrote behind y";
  EXPECT_TRUE(y.margins_are_poison());
}

const std::vector<std::int64_t> kLists = {1, 63, 64, 65, 127, 128, 129, 200};

struct Formats {
  DType activation;
  DType cache;
};
constexpr std::array<Formats, 5> kFormats = {{{DType::kF32, DType::kF32},
                                              {DType::kF32, DType::kF8E4M3},
                                              {DType::kBF16, DType::kF32},
                                              {DType::kBF16, DType::kBF16},
                                              {DType::kBF16, DType::kF8E4M3}}};

TEST(SparseAttention, HasTheCanonicalBitsForListsOfEveryLength) {
  on_every_instruction_set([] {
    std::mt19937 random(1);
    CpuStream one(1);
    for (const Formats& formats : kFormats) {
      for (const std::int64_t heads : {1, 4, 5, 16}) {
        Step step(layout_of(formats.cache, 64, 16), formats.activation, heads, kLists, random);
        expect_canonical(step, one);
      }
    }
  });
}

TEST(SparseAttention, HasTheCanonicalBitsAtFullWidthOnSeveralThreads) {
  on_every_instruction_set([] {
    std::mt19937 random(2);
    CpuStream three(3);
    for (const Formats& formats : kFormats) {
      Step all(layout_of(formats.cache, 512, 64), formats.activation, 5, kLists, random);
      expect_canonical(all, three);
      Step few(layout_of(formats.cache, 512, 64), formats.activation, 16, {1, 129}, random);
      expect_canonical(few, three);
    }
  });
}

// A latent that ends inside a group of lanes, in a record whose parts are not aligned.
TEST(SparseAttention, HasTheCanonicalBitsForRaggedWidths) {
  on_every_instruction_set([] {
    std::mt19937 random(3);
    CpuStream stream(1);
    for (const Formats& formats : kFormats) {
      Step small(layout_of(formats.cache, 21, 6), formats.activation, 3, {1, 65}, random);
      expect_canonical(small, stream);
      Step wide(layout_of(formats.cache, 150, 10), formats.activation, 4, {7, 130}, random);
      expect_canonical(wide, stream);
    }
  });
}

TEST(SparseAttention, ARowHasTheSameBitsAloneAndWithAnyNumberOfThreads) {
  std::mt19937 random(4);
  CpuStream one(1);
  CpuStream three(3);
  for (const Formats& formats : kFormats) {
    Step step(layout_of(formats.cache, 64, 16), formats.activation, 16, kLists, random);
    HostTensor together = room_for(step);
    HostTensor threaded = room_for(step);
    HostTensor alone = room_for(step);

    sparse_attention(one, step.args(0, step.tokens(), together.view().rows(0, step.tokens())));
    sparse_attention(three, step.args(0, step.tokens(), threaded.view().rows(0, step.tokens())));
    for (std::int64_t t = 0; t < step.tokens(); ++t) {
      sparse_attention(one, step.args(t, 1, alone.view().rows(t, 1)));
    }

    EXPECT_EQ(threaded.content(), together.content());
    EXPECT_EQ(alone.content(), together.content());
  }
}

// How far one head may be from the softmax in exact arithmetic, to first order in u = 2^-24:
//   a score is off by at most d = (K/16 + 6)·u·scale·Σ|q·k| (a lane of K/16 fused steps, a tree of
//   four sums, the product with the scale), so a difference of two by 2d, and rounding that
//   difference adds u·|difference|; exp adds 3u; hence p is off by a factor 1 ± e;
//   numerator and denominator add at most 64 + 2·blocks and 8 + blocks roundings, the division one.
// The error is then at most (2e + (73 + 3·blocks)·u) · Σ p|v| / Σ p.
TEST(SparseAttention, StaysWithinItsBoundOfTheSoftmaxInDouble) {
  constexpr double kUnit = 0x1p-24;
  std::mt19937 random(5);
  CpuStream stream(1);
  Step step(layout_of(DType::kF32, 512, 64), DType::kF32, 4, kLists, random);
  HostTensor y = room_for(step);

  sparse_attention(stream, step.args(0, step.tokens(), y.view().rows(0, step.tokens())));

  for (std::int64_t row = 0; row < step.tokens() * step.heads(); ++row) {
    const std::int64_t token = row / step.heads();
    const Row query = step.query(token, row % step.heads());
    const std::int64_t count = step.list_length(token);
    std::vector<double> scores;
    double largest_term = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const Row& key = step.key(token, i);
      double score = 0;
      double magnitude = 0;
      for (std::size_t k = 0; k < query.size(); ++k) {
        const double term = double{query[k]} * double{key[k]};
        score += term;
        magnitude += std::fabs(term);
      }
      scores.push_back(score * double{Step::kScale});
      largest_term = std::max(largest_term, magnitude * double{Step::kScale});
    }
    const double top = *std::max_element(scores.begin(), scores.end());
    const double range = top - *std::min_element(scores.begin(), scores.end());
    const double off = (static_cast<double>(query.size()) / 16 + 6) * kUnit * largest_term;
    const double e = 2 * off + (range + 3) * kUnit;
    const double blocks = std::ceil(static_cast<double>(count) / 64);
    for (std::int64_t k = 0; k < step.value_width(); ++k) {
      double sum = 0;
      double magnitude = 0;
      double denominator = 0;
      for (std::int64_t i = 0; i < count; ++i) {
        const double p = std::exp(scores[static_cast<std::size_t>(i)] - top);
        const double value = step.key(token, i)[static_cast<std::size_t>(k)];
        sum += p * value;
        magnitude += p * std::fabs(value);
        denominator += p;
      }
      const double bound = (2 * e + (73 + 3 * blocks) * kUnit) * magnitude / denominator;
      ASSERT_NEAR(double{y.get(row * step.value_width() + k)}, sum / denominator, 1.01 * bound)
          << "row " << row << ", element " << k;
    }
  }
}

TEST(SparseAttention, PaddingRowsAreZeroAndTouchNoOthers) {
  on_every_instruction_set([] {
    std::mt19937 random(8);
    CpuStream stream(1);
    Step step(layout_of(DType::kBF16, 64, 16), DType::kBF16, 4, {70, 1}, random);
    HostTensor without = room_for(step);
    sparse_attention(stream, step.args(0, 2, without.view()));
    HostTensor y = room_for(step);
    ops::SparseAttentionArgs args = step.args(0, 2, y.view());
    HostTensor counts(DType::kI32, {2});
    counts.set_ints({70, 0});
    args.count = counts.view();

    sparse_attention(stream, args);

    const std::int64_t row = y.elements() / 3;  // there is room for one more
    for (std::int64_t i = 0; i < row; ++i) ASSERT_EQ(y.code(i), without.code(i));
    for (std::int64_t i = row; i < 2 * row; ++i) ASSERT_EQ(y.get(i), 0.0F);
  });
}

TEST(SparseAttention, TakesNoRows) {
  std::mt19937 random(6);
  CpuStream stream(1);
  Step step(layout_of(DType::kBF16, 64, 16), DType::kBF16, 4, {1}, random);
  HostTensor y = room_for(step);
  const std::vector<std::byte> before = y.content();

  sparse_attention(stream, step.args(0, 0, y.view().rows(0, 0)));

  EXPECT_EQ(y.content(), before);
}

}  // namespace
}  // namespace fathom::cpu
