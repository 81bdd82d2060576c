#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/kernel_testing.h"
#include "backend/cpu/kernels.h"
#include "base/math.h"

namespace fathom::cpu {
namespace {

struct Choice {
  std::vector<std::int32_t> experts;
  std::vector<float> weights;
};

struct Rule {
  std::int32_t groups = 1;
  std::int32_t kept_groups = 1;
  std::int64_t k = 1;
  bool normalize = true;
  float scale = 1;
};

// Indices of the `count` largest, lowest index first among equals.
std::vector<std::size_t> largest(const std::vector<float>& values, std::size_t count) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return values[a] > values[b]; });
  order.resize(count);
  return order;
}

Choice reference(const std::vector<float>& logits,
                 const std::vector<float>& bias,
                 const Rule& rule) {
  std::vector<float> p;
  std::vector<float> b;
  for (std::size_t e = 0; e < logits.size(); ++e) {
    p.push_back(sigmoid_f32(logits[e]));
    b.push_back(p[e] + bias[e]);
  }
  const std::size_t size = logits.size() / static_cast<std::size_t>(rule.groups);
  std::vector<float> group_score;
  for (std::size_t g = 0; g < static_cast<std::size_t>(rule.groups); ++g) {
    std::vector<float> members(b.begin() + static_cast<std::ptrdiff_t>(g * size),
                               b.begin() + static_cast<std::ptrdiff_t>((g + 1) * size));
    std::sort(members.rbegin(), members.rend());
    group_score.push_back(members[0] + members[1]);
  }
  std::vector<float> masked(b.size(), -std::numeric_limits<float>::infinity());
  for (const std::size_t g : largest(group_score, static_cast<std::size_t>(rule.kept_groups))) {
    for (std::size_t e = g * size; e < (g + 1) * size; ++e) masked[e] = b[e];
  }
  std::vector<std::size_t> chosen = largest(masked, static_cast<std::size_t>(rule.k));
  std::sort(chosen.begin(), chosen.end());
  float sum = 0;
  for (const std::size_t e : chosen) sum += p[e];
  Choice choice;
  for (const std::size_t e : chosen) {
    choice.experts.push_back(static_cast<std::int32_t>(e));
    choice.weights.push_back((rule.normalize ? p[e] / sum : p[e]) * rule.scale);
  }
  return choice;
}

// Logits and bias as tensors, and what the gate made of them.
struct GateRun {
  GateRun(std::int64_t tokens, std::int64_t experts, const Rule& the_rule)
      : logits(DType::kF32, {tokens, experts}, 3),
        bias(DType::kF32, {experts}),
        positions(DType::kI32, {tokens}),
        chosen(DType::kI32, {tokens, the_rule.k}, 2),
        weights(DType::kF32, {tokens, the_rule.k}, 2),
        rule(the_rule) {
    for (std::int64_t t = 0; t < tokens; ++t) positions.set_int(t, static_cast<std::int32_t>(t));
  }
  ops::GateArgs args() {
    return {logits.view(), bias.view(),      positions.view(), chosen.view(), weights.view(),
            rule.groups,   rule.kept_groups, rule.normalize,   rule.scale,    {}};
  }
  // Its place in the step is padding, and its logits are nothing that can be computed with.
  void make_padding(std::int64_t token) {
    positions.set_int(token, -1);
    const std::int64_t experts = bias.elements();
    for (std::int64_t e = 0; e < experts; ++e) {
      logits.set(token * experts + e, std::numeric_limits<float>::quiet_NaN());
    }
  }
  void expect_reference() {
    const std::int64_t experts = bias.elements();
    std::vector<float> b;
    for (std::int64_t e = 0; e < experts; ++e) b.push_back(bias.get(e));
    for (std::int64_t t = 0; t < logits.elements() / experts; ++t) {
      std::vector<float> row;
      for (std::int64_t e = 0; e < experts; ++e) row.push_back(logits.get(t * experts + e));
      const Choice want = reference(row, b, rule);
      for (std::int64_t j = 0; j < rule.k; ++j) {
        const auto at = static_cast<std::size_t>(j);
        ASSERT_EQ(chosen.get_int(t * rule.k + j), want.experts[at]) << "token " << t;
        ASSERT_EQ(bits_of(weights.get(t * rule.k + j)), bits_of(want.weights[at]));
      }
    }
    EXPECT_TRUE(chosen.margins_are_poison());
    EXPECT_TRUE(weights.margins_are_poison());
  }

  HostTensor logits;
  HostTensor bias;
  HostTensor positions;
  HostTensor chosen;
  HostTensor weights;
  Rule rule;
};

TEST(Gate, AgreesWithItsRuleOnLogitsThatTieOften) {
  std::mt19937 random(1);
  CpuStream stream(1);
  const Rule rules[] = {{1, 1, 1, true, 1},  // NOLINT(*-avoid-c-arrays)
                        {4, 2, 4, true, 2.5F},
                        {4, 4, 3, false, 1},
                        {8, 4, 8, true, 2.5F}};
  for (const Rule& rule : rules) {
    for (const std::int64_t experts : {16, 32, 48}) {
      GateRun run(20, experts, rule);
      for (std::int64_t i = 0; i < run.logits.elements(); ++i) {
        run.logits.set(i, static_cast<float>(static_cast<int>(random() % 9) - 4));
      }
      for (std::int64_t e = 0; e < experts; ++e) {
        run.bias.set(e, static_cast<float>(random() % 3) * 0.25F - 0.25F);
      }

      gate(stream, run.args());

      run.expect_reference();
    }
  }
}

// Group 0 has the largest b, group 1 the larger sum of two.
TEST(Gate, AGroupsScoreIsTheSumOfItsTwoLargest) {
  CpuStream stream(1);
  GateRun run(1, 4, {2, 1, 1, true, 1});
  for (std::int64_t e = 0; e < 4; ++e) {
    run.logits.set(e, 0);
    run.bias.set(e, std::array<float, 4>{0.4F, -0.4F, 0.1F, 0.1F}[static_cast<std::size_t>(e)]);
  }

  gate(stream, run.args());

  EXPECT_EQ(run.chosen.get_int(0), 2);
}

TEST(Gate, TheBiasChoosesButDoesNotWeigh) {
  CpuStream stream(1);
  GateRun run(1, 4, {1, 1, 2, true, 3});
  for (std::int64_t e = 0; e < 4; ++e) {
    run.logits.set(e, e == 0 ? 2.0F : 0.0F);
    run.bias.set(e, e == 0 ? -1.0F : static_cast<float>(e == 3));
  }

  gate(stream, run.args());

  EXPECT_EQ(run.chosen.get_int(0), 1);
  EXPECT_EQ(run.chosen.get_int(1), 3);
  EXPECT_EQ(run.weights.get(0), 1.5F);
  EXPECT_EQ(run.weights.get(1), 1.5F);
}

TEST(Gate, ReplayTakesTheChoiceAndComputesTheWeights) {
  CpuStream stream(1);
  GateRun run(1, 4, {1, 1, 2, true, 1});
  for (std::int64_t e = 0; e < 4; ++e) {
    run.logits.set(e, static_cast<float>(-e));
    run.bias.set(e, 0);
  }
  HostTensor replay(DType::kI32, {1, 2});
  replay.set_ints({2, 3});
  ops::GateArgs args = run.args();
  args.replay = replay.view();

  gate(stream, args);

  const float p2 = sigmoid_f32(-2);
  const float p3 = sigmoid_f32(-3);
  EXPECT_EQ(run.chosen.get_int(0), 2);
  EXPECT_EQ(run.chosen.get_int(1), 3);
  EXPECT_EQ(run.weights.get(0), p2 / (p2 + p3));
  EXPECT_EQ(run.weights.get(1), p3 / (p2 + p3));
}

TEST(Gate, NanLogitsStillGiveDistinctExperts) {
  CpuStream stream(1);
  GateRun run(1, 8, {4, 2, 4, true, 1});
  for (std::int64_t e = 0; e < 8; ++e) {
    run.logits.set(e, std::numeric_limits<float>::quiet_NaN());
    run.bias.set(e, 0);
  }

  gate(stream, run.args());

  for (std::int64_t j = 0; j < 4; ++j) EXPECT_EQ(run.chosen.get_int(j), j);
}

TEST(Gate, BitsDependOnNeitherThreadsNorNeighbours) {
  std::mt19937 random(2);
  GateRun run(150, 64, {8, 4, 8, true, 2.5F});
  run.logits.fill_wide(random);
  run.bias.fill(random, 0.02F);
  GateRun threaded = run;
  GateRun alone = run;
  CpuStream one(1);
  CpuStream three(3);

  gate(one, run.args());
  gate(three, threaded.args());
  for (std::int64_t t = 0; t < 150; ++t) {
    ops::GateArgs args = alone.args();
    for (TensorView* view : {&args.logits, &args.positions, &args.experts, &args.weights}) {
      *view = view->rows(t, 1);
    }
    gate(one, args);
  }

  run.expect_reference();
  EXPECT_EQ(threaded.chosen.content(), run.chosen.content());
  EXPECT_EQ(threaded.weights.content(), run.weights.content());
  EXPECT_EQ(alone.chosen.content(), run.chosen.content());
  EXPECT_EQ(alone.weights.content(), run.weights.content());
}

TEST(Gate, PaddingRowsChooseNoExpertAndTouchNoOtherRow) {
  std::mt19937 random(6);
  GateRun plain(90, 32, {4, 2, 4, true, 2.5F});
  plain.logits.fill_wide(random);
  plain.bias.fill(random, 0.02F);
  GateRun padded = plain;
  for (std::int64_t t = 1; t < 90; t += 3) padded.make_padding(t);
  CpuStream one(1);
  CpuStream three(3);

  gate(one, plain.args());
  gate(three, padded.args());

  for (std::int64_t i = 0; i < plain.chosen.elements(); ++i) {
    const bool padding = i / 4 % 3 == 1;
    ASSERT_EQ(padded.chosen.get_int(i), padding ? -1 : plain.chosen.get_int(i)) << i;
    ASSERT_EQ(padded.weights.code(i), padding ? 0U : plain.weights.code(i)) << i;
  }
  EXPECT_TRUE(padded.chosen.margins_are_poison());
  EXPECT_TRUE(padded.weights.margins_are_poison());
}

TEST(Gate, PaddingRowsChooseNoExpertUnderReplayEither) {
  CpuStream stream(1);
  GateRun run(2, 4, {1, 1, 2, true, 1});
  for (std::int64_t e = 0; e < 4; ++e) {
    run.logits.set(e, 0);
    run.bias.set(e, 0);
  }
  run.make_padding(1);
  HostTensor replay(DType::kI32, {2, 2});
  replay.set_ints({0, 3, 1, 2});
  ops::GateArgs args = run.args();
  args.replay = replay.view();

  gate(stream, args);

  for (std::int64_t i = 0; i < 4; ++i) {
    EXPECT_EQ(run.chosen.get_int(i), (std::array{0, 3, -1, -1}[static_cast<std::size_t>(i)]));
    EXPECT_EQ(run.weights.get(i), i < 2 ? 0.5F : 0.0F);
  }
}

std::vector<std::int32_t> ints_of(const HostTensor& tensor) {
  std::vector<std::int32_t> all;
  for (std::int64_t i = 0; i < tensor.elements(); ++i) all.push_back(tensor.get_int(i));
  return all;
}

constexpr std::int32_t kPoison = static_cast<std::int32_t>(0xAAAAAAAAU);

TEST(GroupByExpert, SortsByExpertThenTokenAndLeavesOthersOut) {
  CpuStream stream(1);
  HostTensor experts(DType::kI32, {3, 2});
  experts.set_ints({4, 6, 5, 9, 4, 5});
  HostTensor source(DType::kI32, {6});
  HostTensor row_of(DType::kI32, {3, 2});
  HostTensor offsets(DType::kI32, {4});  // experts 4, 5 and 6

  group_by_expert(stream, {experts.view(), source.view(), row_of.view(), offsets.view(), 4});

  EXPECT_EQ(ints_of(offsets), (std::vector<std::int32_t>{0, 2, 4, 5}));
  EXPECT_EQ(ints_of(source), (std::vector<std::int32_t>{0, 2, 1, 2, 0, kPoison}));
  EXPECT_EQ(ints_of(row_of), (std::vector<std::int32_t>{0, 4, 2, -1, 1, 3}));
}

TEST(GroupByExpert, PaddingHasNoRow) {
  CpuStream stream(1);
  HostTensor experts(DType::kI32, {3, 2});
  experts.set_ints({0, 2, -1, -1, 0, 1});
  HostTensor source(DType::kI32, {6});
  HostTensor row_of(DType::kI32, {3, 2});
  HostTensor offsets(DType::kI32, {4});

  group_by_expert(stream, {experts.view(), source.view(), row_of.view(), offsets.view(), 0});

  EXPECT_EQ(ints_of(offsets), (std::vector<std::int32_t>{0, 2, 3, 4}));
  EXPECT_EQ(ints_of(source), (std::vector<std::int32_t>{0, 2, 2, 0, kPoison, kPoison}));
  EXPECT_EQ(ints_of(row_of), (std::vector<std::int32_t>{0, 3, -1, -1, 1, 2}));
}

TEST(GroupByExpert, NoTokensGiveEmptyRanges) {
  CpuStream stream(1);
  HostTensor offsets(DType::kI32, {4});
  const TensorView none(nullptr, DType::kI32, {0, 2});

  group_by_expert(stream, {none, TensorView(nullptr, DType::kI32, {0}), none, offsets.view(), 0});

  EXPECT_EQ(ints_of(offsets), (std::vector<std::int32_t>{0, 0, 0, 0}));
}

TEST(ExpandRows, CopiesTheRowsBelowTheLastOffsetWithTheirScales) {
  std::mt19937 random(3);
  for (const int threads : {1, 3}) {
    CpuStream stream(threads);
    HostTensor x(DType::kF8E4M3, {4, 130}, 1);
    HostTensor scales(DType::kF32, {4, 2}, 1);
    x.fill(random);
    scales.fill(random);
    HostTensor source(DType::kI32, {6});
    source.set_ints({3, 3, 0, 1, kPoison, kPoison});
    HostTensor offsets(DType::kI32, {3});
    offsets.set_ints({0, 2, 4});
    HostTensor y(DType::kF8E4M3, {6, 130}, 1);
    HostTensor y_scales(DType::kF32, {6, 2}, 1);

    expand_rows(stream, {x.view(), scales.view(), source.view(), offsets.view(), y.view(),
                         y_scales.view()});

    for (std::int64_t i = 0; i < y.elements(); ++i) {
      const std::int64_t from =
          i / 130 < 4 ? std::int64_t{source.get_int(i / 130)} * 130 + i % 130 : -1;
      ASSERT_EQ(y.code(i), from < 0 ? 0xFFU : x.code(from));
    }
    for (std::int64_t i = 0; i < 12; ++i) {
      const std::int64_t from = i / 2 < 4 ? std::int64_t{source.get_int(i / 2)} * 2 + i % 2 : -1;
      ASSERT_EQ(y_scales.code(i), from < 0 ? 0xFFFFFFFFU : scales.code(from));
    }
    EXPECT_TRUE(y.margins_are_poison());
  }
}

TEST(Combine, AddsInTheOrderOfTheChoicesAndTheSharedExpertLast) {
  std::mt19937 random(4);
  CpuStream stream(1);
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const std::int64_t hidden : {1, 15, 16, 17, 511, 513, 1030}) {
      HostTensor rows(dtype, {6, hidden}, 1);
      HostTensor shared(dtype, {2, hidden}, 2);
      HostTensor weights(DType::kF32, {2, 3});
      rows.fill_wide(random);
      shared.fill_wide(random);
      weights.fill_wide(random);
      HostTensor row_of(DType::kI32, {2, 3});
      row_of.set_ints({5, 0, 3, 1, 4, 2});
      HostTensor y(dtype, {2, hidden}, 3);

      combine(stream, {rows.view(), row_of.view(), weights.view(), shared.view(), y.view()});

      for (std::int64_t i = 0; i < 2 * hidden; ++i) {
        float sum = 0;
        for (std::int64_t j = 0; j < 3; ++j) {
          const std::int64_t pair = i / hidden * 3 + j;
          sum = std::fma(weights.get(pair), rows.get(row_of.get_int(pair) * hidden + i % hidden),
                         sum);
        }
        ASSERT_EQ(bits_of(y.get(i)), bits_of(rounded(sum + shared.get(i), dtype)));
      }
      EXPECT_TRUE(y.margins_are_poison());
    }
  }
}

TEST(Combine, ChoicesWithoutARowAddNothing) {
  std::mt19937 random(7);
  CpuStream stream(1);
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    HostTensor rows(dtype, {3, 520});
    HostTensor shared(dtype, {2, 520});
    HostTensor weights(DType::kF32, {2, 3});
    rows.fill_wide(random);
    shared.fill_wide(random);
    weights.fill_wide(random);
    HostTensor row_of(DType::kI32, {2, 3});
    row_of.set_ints({-1, -1, -1, 2, -1, 0});
    HostTensor y(dtype, {2, 520}, 1);

    combine(stream, {rows.view(), row_of.view(), weights.view(), shared.view(), y.view()});

    for (std::int64_t h = 0; h < 520; ++h) {
      ASSERT_EQ(bits_of(y.get(h)), bits_of(shared.get(h)));
      float sum = std::fma(weights.get(3), rows.get(1040 + h), 0.0F);
      sum = std::fma(weights.get(5), rows.get(h), sum);
      ASSERT_EQ(bits_of(y.get(520 + h)), bits_of(rounded(sum + shared.get(520 + h), dtype)));
    }
    EXPECT_TRUE(y.margins_are_poison());
  }
}

// From the gate to the sum of the experts: the matrix of expert 0, which padding alone would have
// chosen, is not even memory.
TEST(Experts, APaddingRowReadsNone) {
  std::mt19937 random(8);
  CpuStream stream(1);
  GateRun run(3, 4, {1, 1, 2, true, 1});
  for (std::int64_t e = 0; e < 4; ++e) {
    run.bias.set(e, 0);
    for (std::int64_t t = 0; t < 3; ++t) run.logits.set(t * 4 + e, static_cast<float>(e));
  }
  run.positions.set_int(1, -1);
  run.logits.set(4, 9);
  HostTensor source(DType::kI32, {6});
  HostTensor row_of(DType::kI32, {3, 2});
  HostTensor offsets(DType::kI32, {5});
  HostTensor matrix(DType::kF32, {16, 16});
  matrix.fill(random);
  const WeightView readable{matrix.view(), {}};
  WeightView missing = readable;
  missing.values.data = nullptr;
  const std::array<WeightView, 4> matrices{missing, missing, readable, readable};
  HostTensor x(DType::kF32, {6, 16});
  x.fill(random);
  HostTensor y(DType::kF32, {6, 16});

  gate(stream, run.args());
  group_by_expert(stream, {run.chosen.view(), source.view(), row_of.view(), offsets.view(), 0});
  grouped_linear(stream, {{x.view(), {}}, matrices, offsets.view(), y.view()});

  EXPECT_EQ(ints_of(offsets), (std::vector<std::int32_t>{0, 0, 0, 2, 4}));
  EXPECT_EQ(ints_of(row_of), (std::vector<std::int32_t>{0, 2, -1, -1, 1, 3}));
  for (std::int64_t i = 0; i < y.elements(); ++i) {
    EXPECT_EQ(std::isnan(y.get(i)), i / 16 >= 4) << i;  // 4 rows of choices
  }
}

TEST(Combine, MayWriteOverSharedWithAnyNumberOfThreads) {
  std::mt19937 random(5);
  HostTensor rows(DType::kBF16, {120, 1030});
  HostTensor weights(DType::kF32, {60, 2});
  HostTensor row_of(DType::kI32, {60, 2});
  HostTensor shared(DType::kBF16, {60, 1030});
  rows.fill_wide(random);
  weights.fill_wide(random);
  shared.fill_wide(random);
  for (std::int64_t i = 0; i < 120; ++i) row_of.set_int(i, static_cast<std::int32_t>(119 - i));
  HostTensor want(DType::kBF16, {60, 1030});
  HostTensor alone = want;
  CpuStream one(1);
  CpuStream three(3);
  const auto run = [&](CpuStream& stream, std::int64_t t, std::int64_t count, TensorView y) {
    combine(stream, {rows.view(), row_of.view().rows(t, count), weights.view().rows(t, count),
                     shared.view().rows(t, count), y});
  };

  run(one, 0, 60, want.view());
  for (std::int64_t t = 0; t < 60; ++t) run(one, t, 1, alone.view().rows(t, 1));
  run(three, 0, 60, shared.view());

  EXPECT_EQ(alone.content(), want.content());
  EXPECT_EQ(shared.content(), want.content());
}

}  // namespace
}  // namespace fathom::cpu
