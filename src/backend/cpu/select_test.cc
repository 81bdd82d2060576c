#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/kernel_testing.h"
#include "backend/cpu/kernels.h"

namespace fathom::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// a before b when a is to be chosen first.
bool is_better(float a, float b) {
  if (std::isnan(a)) return false;
  return std::isnan(b) || a > b;
}

std::vector<std::int32_t> best_positions(const std::vector<float>& scores, std::size_t k) {
  std::vector<std::int32_t> order(scores.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int32_t>(i);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return is_better(scores[static_cast<std::size_t>(a)], scores[static_cast<std::size_t>(b)]);
  });
  order.resize(std::min(k, order.size()));
  std::sort(order.begin(), order.end());
  return order;
}

// Runs one token whose visible scores are these; what lies beyond them is tempting.
std::vector<std::int32_t> select_from(const std::vector<float>& scores,
                                      std::int64_t k,
                                      std::int32_t* count) {
  const auto n = static_cast<std::int64_t>(scores.size());
  CpuStream stream(1);
  HostTensor view(DType::kF32, {1, n + 40});
  for (std::int64_t i = 0; i < n; ++i) view.set(i, scores[static_cast<std::size_t>(i)]);
  for (std::int64_t i = n; i < n + 40; i += 2) {
    view.set(i, kInfinity);
    view.set(i + 1, kNan);
  }
  HostTensor positions(DType::kI32, {1});
  positions.set_int(0, static_cast<std::int32_t>(n - 1));
  HostTensor selected(DType::kI32, {1, k});
  HostTensor counts(DType::kI32, {1});
  select(stream, {view.view(), positions.view(), selected.view(), counts.view()});
  *count = counts.get_int(0);
  std::vector<std::int32_t> chosen;
  for (std::int64_t i = 0; i < k; ++i) chosen.push_back(selected.get_int(i));
  return chosen;
}

TEST(Select, AgreesWithAStableSortOnNumbersThatTieOften) {
  std::mt19937 random(1);
  const std::vector<float> pool = {0.0F, -0.0F, 1.0F, -1.0F, kInfinity, -kInfinity, kNan, 1e-40F};
  for (int round = 0; round < 400; ++round) {
    const std::size_t n = 1 + random() % 300;
    const std::size_t k = 1 + random() % 70;
    std::vector<float> scores(n);
    for (float& score : scores) {
      score = round % 2 == 0 ? pool[random() % pool.size()]
                             : std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    }
    std::int32_t count = 0;

    std::vector<std::int32_t> chosen = select_from(scores, static_cast<std::int64_t>(k), &count);

    std::vector<std::int32_t> want = best_positions(scores, k);
    ASSERT_EQ(count, static_cast<std::int32_t>(want.size())) << "round " << round;
    want.resize(k, -1);
    ASSERT_EQ(chosen, want) << "round " << round;
  }
}

TEST(Select, TiesGoToTheLowestPositions) {
  std::int32_t count = 0;

  EXPECT_EQ(select_from({-0.0F, 2, 0.0F, -0.0F, 0.0F, 3}, 4, &count),
            (std::vector<std::int32_t>{0, 1, 2, 5}));
  EXPECT_EQ(count, 4);
}

TEST(Select, PadsShortRowsWithMinusOneAndNeverReadsTheirScores) {
  CpuStream stream(1);
  HostTensor positions(DType::kI32, {2});
  positions.set_ints({2, 4});
  HostTensor selected(DType::kI32, {2, 5});
  HostTensor count(DType::kI32, {2});
  float nothing = 0;
  TensorView scores(&nothing, DType::kF32, {2, 5});
  scores.data = nullptr;

  select(stream, {scores, positions.view(), selected.view(), count.view()});

  std::vector<std::int32_t> got;
  for (std::int64_t i = 0; i < 10; ++i) got.push_back(selected.get_int(i));
  EXPECT_EQ(got, (std::vector<std::int32_t>{0, 1, 2, -1, -1, 0, 1, 2, 3, 4}));
  EXPECT_EQ(count.get_int(0), 3);
  EXPECT_EQ(count.get_int(1), 5);
}

// One row of each side of k, and a row whose scores end with the row of the matrix.
TEST(Select, WhatLiesBeyondAPositionIsNeverChosen) {
  CpuStream stream(1);
  HostTensor scores(DType::kF32, {3, 6});
  for (std::int64_t i = 0; i < 18; ++i) scores.set(i, kInfinity);  // stale scores
  for (std::int64_t i = 0; i < 4; ++i) scores.set(6 + i, -static_cast<float>(i));
  for (std::int64_t i = 0; i < 6; ++i) scores.set(12 + i, static_cast<float>(i));
  HostTensor positions(DType::kI32, {3});
  positions.set_ints({1, 3, 5});
  HostTensor selected(DType::kI32, {3, 3});
  HostTensor count(DType::kI32, {3});

  select(stream, {scores.view(), positions.view(), selected.view(), count.view()});

  std::vector<std::int32_t> got;
  for (std::int64_t i = 0; i < 9; ++i) got.push_back(selected.get_int(i));
  EXPECT_EQ(got, (std::vector<std::int32_t>{0, 1, -1, 0, 1, 2, 3, 4, 5}));
}

TEST(Select, BitsDependOnNeitherThreadsNorNeighbours) {
  constexpr std::int64_t kRows = 40;
  constexpr std::int64_t kWidth = 3000;
  std::mt19937 random(2);
  HostTensor scores(DType::kF32, {kRows, kWidth}, 7);
  scores.fill(random);  // few values, many ties
  HostTensor positions(DType::kI32, {kRows});
  for (std::int64_t t = 0; t < kRows; ++t) {
    positions.set_int(t, static_cast<std::int32_t>(random() % kWidth));
  }
  CpuStream one(1);
  CpuStream three(3);
  HostTensor want(DType::kI32, {kRows, 256});
  HostTensor threaded = want;
  HostTensor alone = want;
  HostTensor count(DType::kI32, {kRows});

  select(one, {scores.view(), positions.view(), want.view(), count.view()});
  select(three, {scores.view(), positions.view(), threaded.view(), count.view()});
  for (std::int64_t t = 0; t < kRows; ++t) {
    select(one, {scores.view().rows(t, 1), positions.view().rows(t, 1), alone.view().rows(t, 1),
                 count.view().rows(t, 1)});
  }

  EXPECT_EQ(threaded.content(), want.content());
  EXPECT_EQ(alone.content(), want.content());
}

}  // namespace
}  // namespace fathom::cpu
