#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/instruction_sets_testing.h"
#include "backend/cpu/kernel_testing.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/paged_testing.h"

namespace fathom::cpu {
namespace {

using Row = std::vector<float>;

config::KvLayout layout_of(DType index, std::int64_t d) {
  config::KvLayout layout;
  layout.index_dtype = index;
  layout.latent_dim = 64;
  layout.rope_dim = 16;
  layout.index_dim = static_cast<std::int32_t>(d);
  return layout;
}

struct Token {
  std::int32_t sequence;
  std::int32_t position;
};

// Keys of a cache that has one format or the other: f32 numbers, or codes with a scale.
class Keys {
 public:
  Keys(DType dtype,
       std::int64_t d,
       std::int64_t sequences,
       std::int64_t pages_each,
       std::mt19937& random)
      : layout_(layout_of(dtype, d)),
        cache_(layout_, layout_.index_page_bytes(), sequences, pages_each, random),
        numbers_(static_cast<std::size_t>(sequences)),
        scales_(static_cast<std::size_t>(sequences)) {}

  // Writes the positions of a sequence below `length` that are not there yet.
  void write(std::int32_t sequence, std::int64_t length, std::mt19937& random) {
    auto& numbers = numbers_[static_cast<std::size_t>(sequence)];
    auto& scales = scales_[static_cast<std::size_t>(sequence)];
    std::uniform_real_distribution<float> uniform(0.01F, 2.0F);
    for (auto s = static_cast<std::int64_t>(numbers.size()); s < length; ++s) {
      HostTensor key(layout_.index_dtype, {layout_.index_dim});
      key.fill_wide(random);
      const auto slot = static_cast<std::int32_t>(s % config::kPageTokens);
      std::byte* page = cache_.page_of(sequence, s);
      const std::vector<std::byte> bytes = key.content();
      std::memcpy(page + layout_.index_value_offset(slot), bytes.data(), bytes.size());
      scales.push_back(uniform(random));
      if (layout_.index_dtype == DType::kF8E4M3) {
        std::memcpy(page + layout_.index_scale_offset(slot), &scales.back(), sizeof(float));
      }
      Row row;
      for (std::int64_t k = 0; k < layout_.index_dim; ++k) row.push_back(key.get(k));
      numbers.push_back(std::move(row));
    }
  }

  const Row& key(std::int32_t sequence, std::int64_t position) const {
    return numbers_[static_cast<std::size_t>(sequence)][static_cast<std::size_t>(position)];
  }
  float scale(std::int32_t sequence, std::int64_t position) const {
    return scales_[static_cast<std::size_t>(sequence)][static_cast<std::size_t>(position)];
  }
  ops::CacheView view() const { return cache_.view(); }
  TensorView table() { return cache_.table(); }

 private:
  config::KvLayout layout_;
  PagedCache cache_;
  std::vector<std::vector<Row>> numbers_;
  std::vector<Row> scales_;
};

// One step's operands.
class Step {
 public:
  Step(DType dtype,
       std::int64_t heads,
       std::int64_t d,
       std::vector<Token> tokens,
       std::mt19937& random)
      : dtype_(dtype),
        heads_(heads),
        d_(d),
        tokens_(std::move(tokens)),
        keys_(dtype, d, /*sequences=*/3, pages_each(tokens_), random),
        query_(dtype, {rows(), heads, d}, /*margin=*/2),
        scales_(DType::kF32, {rows(), heads}, /*margin=*/1),
        weights_(DType::kF32, {rows(), heads}, /*margin=*/1),
        positions_(DType::kI32, {rows()}),
        sequences_(DType::kI32, {rows()}) {
    query_.fill_wide(random);
    weights_.fill_wide(random);  // of either sign
    std::uniform_real_distribution<float> uniform(0.01F, 2.0F);
    for (std::int64_t i = 0; i < scales_.elements(); ++i) scales_.set(i, uniform(random));
    for (std::int64_t t = 0; t < rows(); ++t) {
      const Token& token = tokens_[static_cast<std::size_t>(t)];
      positions_.set_int(t, token.position);
      sequences_.set_int(t, token.sequence);
      keys_.write(token.sequence, token.position + 1, random);
    }
  }

  ops::IndexScoresArgs args(std::int64_t begin, std::int64_t count, TensorView scores) {
    ops::IndexScoresArgs args;
    args.query = query_.view().rows(begin, count);
    if (scaled()) args.query_scales = scales_.view().rows(begin, count);
    args.weights = weights_.view().rows(begin, count);
    args.tokens = {positions_.view().rows(begin, count), sequences_.view().rows(begin, count),
                   keys_.table()};
    args.cache = keys_.view();
    args.scores = scores;
    return args;
  }

  // The score of one token for one position, by the definition.
  float score(std::int64_t t, std::int64_t position) const {
    const Token& token = tokens_[static_cast<std::size_t>(t)];
    const float by_heads = 1.0F / std::sqrt(static_cast<float>(heads_));
    const float by_dim = 1.0F / std::sqrt(static_cast<float>(d_));
    std::array<float, 16> lane{};
    for (std::int64_t h = 0; h < heads_; ++h) {
      float weight = weights_.get(t * heads_ + h) * by_heads;
      if (scaled()) weight *= scales_.get(t * heads_ + h);
      weight *= by_dim;
      Row query;
      for (std::int64_t k = 0; k < d_; ++k) query.push_back(query_.get((t * heads_ + h) * d_ + k));
      const float dot = canonical_dot(query, keys_.key(token.sequence, position));
      float& sum = lane[static_cast<std::size_t>(h % 16)];
      sum = std::fma(weight, std::max(dot, 0.0F), sum);
    }
    const float sum = lane_tree(lane);
    return scaled() ? sum * keys_.scale(token.sequence, position) : sum;
  }

  std::int64_t rows() const { return static_cast<std::int64_t>(tokens_.size()); }
  std::int64_t visible(std::int64_t t) const {
    return std::int64_t{tokens_[static_cast<std::size_t>(t)].position} + 1;
  }
  // Scores of the widest row and some room behind it.
  HostTensor room_for_scores() const {
    std::int64_t width = 0;
    for (std::int64_t t = 0; t < rows(); ++t) width = std::max(width, visible(t));
    return {DType::kF32, {rows(), width + 5}, /*margin=*/2};
  }

 private:
  bool scaled() const { return dtype_ == DType::kF8E4M3; }
  static std::int64_t pages_each(const std::vector<Token>& tokens) {
    std::int64_t pages = 1;
    for (const Token& token : tokens) {
      pages = std::max<std::int64_t>(pages, token.position / config::kPageTokens + 1);
    }
    return pages;
  }

  DType dtype_;
  std::int64_t heads_;
  std::int64_t d_;
  std::vector<Token> tokens_;
  Keys keys_;
  HostTensor query_;
  HostTensor scales_;
  HostTensor weights_;
  HostTensor positions_;
  HostTensor sequences_;
};

void expect_canonical(Step& step, CpuStream& stream) {
  HostTensor scores = step.room_for_scores();
  const std::int64_t width = scores.elements() / step.rows();
  index_scores(stream, step.args(0, step.rows(), scores.view()));
  for (std::int64_t t = 0; t < step.rows(); ++t) {
    for (std::int64_t s = 0; s < step.visible(t); ++s) {
      ASSERT_EQ(bits_of(scores.get(t * width + s)), bits_of(step.score(t, s)))
          << "token " << t << ", position " << s;
    }
    for (std::int64_t s = step.visible(t); s < width; ++s) {
      ASSERT_EQ(scores.code(t * width + s), 0xFFFFFFFFU) << "token " << t << ", position " << s;
    }
  }
  EXPECT_TRUE(scores.margins_are_poison());
}

// Tokens that see 1, 63, 64, 65 and 200 positions, the sequences now one after the other and now
// mixed, a chunk of neighbours among them.
const std::vector<Token> kTokens = {{0, 0},   {0, 62},  {1, 199}, {1, 198}, {2, 63}, {0, 63},
                                    {0, 64},  {0, 65},  {2, 0},   {1, 64},  {2, 62}, {2, 64},
                                    {2, 199}, {0, 128}, {0, 127}, {1, 0}};

TEST(IndexScores, HaveTheCanonicalBitsForEveryLengthAndNumberOfHeads) {
  on_every_instruction_set([] {
    std::mt19937 random(1);
    CpuStream one(1);
    for (const DType dtype : {DType::kF32, DType::kF8E4M3}) {
      for (const std::int64_t heads : {1, 4, 16, 64}) {
        Step step(dtype, heads, 32, kTokens, random);
        expect_canonical(step, one);
      }
    }
  });
}

TEST(IndexScores, HaveTheCanonicalBitsAtFullWidthOnSeveralThreads) {
  on_every_instruction_set([] {
    std::mt19937 random(2);
    CpuStream three(3);
    for (const DType dtype : {DType::kF32, DType::kF8E4M3}) {
      for (const std::int64_t heads : {1, 16, 64}) {
        Step step(dtype, heads, 128, {{2, 0}, {0, 199}, {0, 64}, {1, 63}}, random);
        expect_canonical(step, three);
      }
    }
  });
}

// More heads than a lane group or a task holds, and keys that end inside a group of lanes.
TEST(IndexScores, HaveTheCanonicalBitsForRaggedSizes) {
  on_every_instruction_set([] {
    std::mt19937 random(3);
    CpuStream stream(1);
    for (const std::int64_t heads : {3, 17, 70}) {
      Step step(DType::kF32, heads, 10, {{0, 70}, {0, 71}, {1, 3}}, random);
      expect_canonical(step, stream);
    }
  });
}

// Enough pages that they are shared among tasks, and rows that see only the first of them.
TEST(IndexScores, HaveTheCanonicalBitsForLongSequences) {
  std::mt19937 random(4);
  CpuStream three(3);
  for (const DType dtype : {DType::kF32, DType::kF8E4M3}) {
    Step step(dtype, 4, 32, {{0, 2100}, {0, 1023}, {0, 1024}, {1, 5}, {2, 1500}}, random);
    expect_canonical(step, three);
  }
}

TEST(IndexScores, ARowHasTheSameBitsAloneAndWithAnyNumberOfThreads) {
  std::mt19937 random(5);
  CpuStream one(1);
  CpuStream three(3);
  for (const DType dtype : {DType::kF32, DType::kF8E4M3}) {
    Step step(dtype, 16, 128, kTokens, random);
    HostTensor together = step.room_for_scores();
    HostTensor threaded = step.room_for_scores();
    HostTensor alone = step.room_for_scores();

    index_scores(one, step.args(0, step.rows(), together.view()));
    index_scores(three, step.args(0, step.rows(), threaded.view()));
    for (std::int64_t t = 0; t < step.rows(); ++t) {
      index_scores(one, step.args(t, 1, alone.view().rows(t, 1)));
    }

    EXPECT_EQ(threaded.content(), together.content());
    EXPECT_EQ(alone.content(), together.content());
  }
}

// One head, one key of ones and a query of ones: the dot product is d, and so on by hand.
TEST(IndexScores, HasTheValueOfItsFormula) {
  std::mt19937 random(6);
  CpuStream stream(1);
  PagedCache cache(layout_of(DType::kF32, 4), layout_of(DType::kF32, 4).index_page_bytes(), 1, 1,
                   random);
  const std::array<float, 8> keys = {1, 1, 1, 1, -1, -1, -1, -1};
  std::memcpy(cache.page_of(0, 0), keys.data(), sizeof keys);
  HostTensor query(DType::kF32, {1, 4, 4});
  HostTensor weights(DType::kF32, {1, 4});
  HostTensor positions(DType::kI32, {1});
  HostTensor sequences(DType::kI32, {1});
  HostTensor scores(DType::kF32, {1, 2});
  for (std::int64_t i = 0; i < 16; ++i) query.set(i, i < 4 ? -2.0F : 1.0F);
  for (std::int64_t h = 0; h < 4; ++h) weights.set(h, h == 1 ? -3.0F : 1.0F);
  positions.set_int(0, 1);
  sequences.set_int(0, 0);
  ops::IndexScoresArgs args;
  args.query = query.view();
  args.weights = weights.view();
  args.tokens = {positions.view(), sequences.view(), cache.table()};
  args.cache = cache.view();
  args.scores = scores.view();

  index_scores(stream, args);

  // 1/√heads = 1/√d = 1/2. The first key: head 0 is cut off, the others have −3·4 + 4 + 4 = −4.
  EXPECT_EQ(scores.get(0), -1.0F);
  // The second key: head 0 alone has 8.
  EXPECT_EQ(scores.get(1), 2.0F);
}

}  // namespace
}  // namespace fathom::cpu
