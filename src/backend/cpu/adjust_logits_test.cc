#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/kernel_testing.h"
#include "backend/cpu/kernels.h"

namespace fathom::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Entry {
  std::int32_t count = 0;
  float bias = 0;
};

// What is done to one row of logits.
struct RowPlan {
  std::int32_t row = 0;
  float frequency = 0;
  float presence = 0;
  float repetition = 1;
  std::map<std::int32_t, Entry> entries;
  std::vector<bool> allowed;  // of each token; empty: no mask
};

void adjust(CpuStream& stream, HostTensor& logits, const std::vector<RowPlan>& plans) {
  const auto adjusted = static_cast<std::int64_t>(plans.size());
  const std::int64_t words = (logits.view().shape[1] + 31) / 32;
  std::int64_t entries = 0;
  std::int32_t masks = 0;
  for (const RowPlan& plan : plans) {
    entries += static_cast<std::int64_t>(plan.entries.size());
    masks += plan.allowed.empty() ? 0 : 1;
  }
  HostTensor row(DType::kI32, {adjusted});
  HostTensor penalties(DType::kF32, {adjusted, 3}, 1);
  HostTensor first_entry(DType::kI32, {adjusted + 1});
  HostTensor token(DType::kI32, {entries});
  HostTensor count(DType::kI32, {entries});
  HostTensor bias(DType::kF32, {entries});
  HostTensor mask_row(DType::kI32, {adjusted});
  HostTensor mask(DType::kI32, {masks, words}, 2);  // bits past the vocabulary are of 0xAA bytes
  std::int32_t entry = 0;
  std::int32_t next_mask = masks;  // the last first
  first_entry.set_int(0, 0);
  for (std::int64_t i = 0; i < adjusted; ++i) {
    const RowPlan& plan = plans[static_cast<std::size_t>(i)];
    row.set_int(i, plan.row);
    penalties.set(3 * i, plan.frequency);
    penalties.set(3 * i + 1, plan.presence);
    penalties.set(3 * i + 2, plan.repetition);
    for (const auto& [id, each] : plan.entries) {
      token.set_int(entry, id);
      count.set_int(entry, each.count);
      bias.set(entry++, each.bias);
    }
    first_entry.set_int(i + 1, entry);
    mask_row.set_int(i, plan.allowed.empty() ? -1 : --next_mask);
    for (std::size_t id = 0; id < plan.allowed.size(); ++id) {
      const std::int64_t at = next_mask * words + static_cast<std::int64_t>(id) / 32;
      const std::uint32_t bit = 1U << (id % 32);
      const std::uint32_t word = mask.code(at) & ~bit;
      mask.set_int(at, std::bit_cast<std::int32_t>(word | (plan.allowed[id] ? bit : 0)));
    }
  }
  ops::AdjustLogitsArgs args{logits.view(),      row.view(),   penalties.view(),
                             first_entry.view(), token.view(), count.view(),
                             bias.view(),        {},           {}};
  if (masks > 0) {
    args.mask_row = mask_row.view();
    args.mask = mask.view();
  }
  ASSERT_EQ(ops::validate(args).message(), "");
  adjust_logits(stream, args);
}

HostTensor row_of(const std::vector<float>& values) {
  HostTensor logits(DType::kF32, {1, static_cast<std::int64_t>(values.size())}, 3);
  for (std::size_t i = 0; i < values.size(); ++i)
    logits.set(static_cast<std::int64_t>(i), values[i]);
  return logits;
}

std::vector<float> values_of(const HostTensor& logits) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < logits.elements(); ++i) values.push_back(logits.get(i));
  return values;
}

TEST(AdjustLogits, PenalizesBeforeItScalesAndAddsTheBiasLast) {
  CpuStream stream(1);
  HostTensor logits = row_of({2, 2, -2, 1, 5});
  RowPlan plan;
  plan.frequency = 0.5F;
  plan.presence = 0.25F;
  plan.repetition = 2;
  plan.entries = {{0, {1, 0}}, {1, {6, 0}}, {2, {1, 0}}, {3, {0, 10}}, {4, {1, 1}}};

  adjust(stream, logits, {plan});

  // 2 - 0.75 = 1.25, halved; 2 - 3.25 = -1.25, doubled; -2 - 0.75, doubled; bias alone; both.
  EXPECT_EQ(values_of(logits), (std::vector<float>{0.625F, -2.5F, -5.5F, 11, 3.125F}));
  EXPECT_TRUE(logits.margins_are_poison());
}

TEST(AdjustLogits, ABanAndAMaskHoldAgainstAnyBiasAndAnyLogit) {
  CpuStream stream(1);
  HostTensor logits = row_of({1, kInfinity, kNan, 4, -kInfinity});
  RowPlan plan;
  plan.repetition = 0.5F;
  plan.entries = {{0, {-1, 1e30F}}, {1, {-1, 0}}, {2, {3, 5}}, {3, {3, 5}}, {4, {2, 1e30F}}};
  plan.allowed = {true, true, false, false, true};

  adjust(stream, logits, {plan});

  EXPECT_EQ(values_of(logits), std::vector<float>(5, -kInfinity));
}

float number(std::mt19937& random, float least, float most) {
  return least + (most - least) * static_cast<float>(random() % 1000) / 1000;
}

RowPlan random_plan(std::mt19937& random, std::int32_t row, std::int64_t vocab) {
  RowPlan plan;
  plan.row = row;
  plan.frequency = number(random, -2, 2);
  plan.presence = number(random, -2, 2);
  plan.repetition = number(random, 0.001F, 2);
  for (std::int64_t i = 0; i < std::min<std::int64_t>(vocab, 40); ++i) {
    const auto id = static_cast<std::int32_t>(random() % static_cast<std::uint64_t>(vocab));
    plan.entries[id] = {static_cast<std::int32_t>(random() % 6) - 1,
                        random() % 2 == 0 ? 0 : number(random, -100, 100)};
  }
  if (random() % 2 == 0) return plan;
  for (std::int64_t i = 0; i < vocab; ++i) plan.allowed.push_back(random() % 3 == 0);
  return plan;
}

float plainly_adjusted(float x, const RowPlan& plan, std::int32_t id) {
  const auto found = plan.entries.find(id);
  const Entry entry = found == plan.entries.end() ? Entry{} : found->second;
  if (entry.count > 0) {
    const float product = plan.frequency * static_cast<float>(entry.count);
    const float penalty = product + plan.presence;
    x = x - penalty;
    x = x < 0 ? x * plan.repetition : x / plan.repetition;
  }
  if (entry.count < 0) x = -kInfinity;
  if (!plan.allowed.empty() && !plan.allowed[static_cast<std::size_t>(id)]) x = -kInfinity;
  return found == plan.entries.end() ? x : x + entry.bias;
}

TEST(AdjustLogits, GivesTheBitsOfAPlainReimplementation) {
  constexpr std::int32_t kRows = 9;
  std::mt19937 random(7);
  CpuStream stream(2);
  for (const std::int64_t vocab : {1, 31, 32, 33, 500, 4099}) {
    SCOPED_TRACE(vocab);
    HostTensor logits(DType::kF32, {kRows, vocab}, 2);
    logits.fill_wide(random);
    std::vector<float> expected = values_of(logits);
    std::vector<RowPlan> plans;
    for (std::int32_t row = kRows - 1; row >= 0;
         row -= 1 + static_cast<std::int32_t>(random() % 2)) {
      plans.push_back(random_plan(random, row, vocab));
      for (std::int32_t id = 0; id < vocab; ++id) {
        float& x = expected[static_cast<std::size_t>(row * vocab + id)];
        x = plainly_adjusted(x, plans.back(), id);
      }
    }

    adjust(stream, logits, plans);

    const std::vector<float> got = values_of(logits);
    for (std::size_t i = 0; i < got.size(); ++i) {
      ASSERT_EQ(std::bit_cast<std::uint32_t>(got[i]), std::bit_cast<std::uint32_t>(expected[i]))
          << i << ": " << got[i] << ", expected " << expected[i];
    }
    EXPECT_TRUE(logits.margins_are_poison());
  }
}

TEST(AdjustLogits, NoRowsAreLeftAlone) {
  std::mt19937 random(3);
  CpuStream stream(1);
  HostTensor logits(DType::kF32, {4, 77});
  logits.fill_wide(random);
  const std::vector<float> before = values_of(logits);

  adjust(stream, logits, {});

  EXPECT_EQ(values_of(logits), before);
}

TEST(AdjustLogits, StopsAtATokenPastTheVocabulary) {
  CpuStream stream(1);
  HostTensor logits = row_of({1, 2});
  RowPlan plan;
  plan.entries = {{2, {1, 0}}};

  EXPECT_DEATH(adjust(stream, logits, {plan}), "token");
}

}  // namespace
}  // namespace fathom::cpu
