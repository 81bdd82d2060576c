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

TEST(Embed, CopiesOrConvertsTheRowsOfTheIds) {
  std::mt19937 random(1);
  CpuStream stream(1);
  for (const DType stored : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (const DType activation : {DType::kF32, DType::kBF16}) {
      for (const std::int64_t hidden : {1, 7, 8, 9, 513}) {
        HostTensor table(stored, {5, hidden}, 1);
        table.fill(random, 1.25F);  // more bits than bf16 keeps
        HostTensor ids(DType::kI32, {4});
        ids.set_ints({4, 0, 4, 2});
        HostTensor y(activation, {4, hidden}, 2);

        embed(stream, {ids.view(), table.view(), y.view()});

        for (std::int64_t t = 0; t < 4; ++t) {
          for (std::int64_t h = 0; h < hidden; ++h) {
            ASSERT_EQ(y.get(t * hidden + h),
                      rounded(table.get(ids.get_int(t) * hidden + h), activation));
          }
        }
        EXPECT_TRUE(y.margins_are_poison());
      }
    }
  }
}

TEST(Embed, StopsAtAnIdPastTheTable) {
  CpuStream stream(1);
  HostTensor table(DType::kF32, {5, 4});
  HostTensor ids(DType::kI32, {1});
  HostTensor y(DType::kF32, {1, 4});
  ids.set_int(0, 5);

  EXPECT_DEATH(embed(stream, {ids.view(), table.view(), y.view()}), "shape");
}

TEST(GatherRows, CopiesRowsInAnyOrderAndNoneAtAll) {
  std::mt19937 random(2);
  CpuStream stream(1);
  HostTensor x(DType::kBF16, {3, 17}, 1);
  x.fill_wide(random);
  HostTensor rows(DType::kI32, {4});
  rows.set_ints({2, 2, 0, 1});
  HostTensor y(DType::kBF16, {4, 17}, 1);

  gather_rows(stream, {x.view(), rows.view(), y.view()});
  gather_rows(stream,
              {x.view(), rows.view().rows(0, 0), TensorView(nullptr, DType::kBF16, {0, 17})});

  for (std::int64_t t = 0; t < 4; ++t) {
    for (std::int64_t i = 0; i < 17; ++i) {
      EXPECT_EQ(y.code(t * 17 + i), x.code(std::int64_t{rows.get_int(t)} * 17 + i));
    }
  }
  EXPECT_TRUE(y.margins_are_poison());
}

// Tables of angle position · 0.01 · (i + 1).
struct Tables {
  explicit Tables(std::int64_t half) : cos(DType::kF32, {64, half}), sin(DType::kF32, {64, half}) {
    for (std::int64_t p = 0; p < 64; ++p) {
      for (std::int64_t i = 0; i < half; ++i) {
        const double angle = 0.01 * static_cast<double>(p * (i + 1));
        cos.set(p * half + i, static_cast<float>(std::cos(angle)));
        sin.set(p * half + i, static_cast<float>(std::sin(angle)));
      }
    }
  }
  HostTensor cos;
  HostTensor sin;
};

void expect_rotated(const HostTensor& before,
                    const HostTensor& after,
                    Tables& tables,
                    const std::vector<std::int32_t>& positions,
                    std::int64_t heads,
                    std::int64_t dim,
                    ops::RopePairing pairing,
                    DType dtype) {
  const std::int64_t half = dim / 2;
  for (std::size_t t = 0; t < positions.size(); ++t) {
    for (std::int64_t head = 0; head < heads; ++head) {
      const std::int64_t at = (static_cast<std::int64_t>(t) * heads + head) * dim;
      for (std::int64_t i = 0; i < half; ++i) {
        const bool neighbours = pairing == ops::RopePairing::kInterleaved;
        const std::int64_t first = at + (neighbours ? 2 * i : i);
        const std::int64_t second = at + (neighbours ? 2 * i + 1 : i + half);
        const float a = before.get(first);
        const float b = before.get(second);
        const float cos = tables.cos.get(positions[t] * half + i);
        const float sin = tables.sin.get(positions[t] * half + i);
        ASSERT_EQ(bits_of(after.get(first)), bits_of(rounded(a * cos - b * sin, dtype)));
        ASSERT_EQ(bits_of(after.get(second)), bits_of(rounded(a * sin + b * cos, dtype)));
      }
    }
  }
}

TEST(Rope, RotatesPartsOfWiderRowsInBothPairings) {
  std::mt19937 random(3);
  CpuStream stream(1);
  const std::vector<std::int32_t> positions = {0, 63, 5};
  for (const auto pairing : {ops::RopePairing::kInterleaved, ops::RopePairing::kHalfSplit}) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      for (const std::int64_t dim : {2, 14, 16, 18, 64}) {
        Tables tables(dim / 2);
        HostTensor x(dtype, {3, 2, dim}, 6);
        HostTensor y(dtype, {3, 2, dim}, 3);
        HostTensor where(DType::kI32, {3});
        where.set_ints({0, 63, 5});
        x.fill_wide(random);
        const HostTensor before = x;

        rope(stream,
             {x.view(), y.view(), where.view(), tables.cos.view(), tables.sin.view(), pairing});
        rope(stream,
             {x.view(), x.view(), where.view(), tables.cos.view(), tables.sin.view(), pairing});

        expect_rotated(before, y, tables, positions, 2, dim, pairing, dtype);
        EXPECT_EQ(x.content(), y.content());
        EXPECT_TRUE(x.margins_are_poison());
        EXPECT_TRUE(y.margins_are_poison());
      }
    }
  }
}

TEST(Rope, LeavesPaddingRowsAsTheyWere) {
  CpuStream stream(1);
  Tables tables(4);
  HostTensor x(DType::kF32, {3, 1, 8});
  for (std::int64_t i = 0; i < x.elements(); ++i) x.set(i, 1);
  HostTensor where(DType::kI32, {3});
  where.set_ints({7, -1, 7});

  rope(stream, {x.view(), x.view(), where.view(), tables.cos.view(), tables.sin.view(),
                ops::RopePairing::kInterleaved});

  for (std::int64_t i = 8; i < 16; ++i) EXPECT_EQ(x.get(i), 1.0F);
  EXPECT_NE(x.get(0), 1.0F);
  EXPECT_EQ(bits_of(x.get(0)), bits_of(x.get(16)));
}

TEST(FillIds, CodesBecomeTheTokensTheyStandFor) {
  CpuStream stream(1);
  HostTensor ids(DType::kI32, {5});
  ids.set_ints({7, -1, 0, -3, -1});
  HostTensor tokens(DType::kI32, {3});
  tokens.set_ints({40, 41, 42});

  fill_ids(stream, {ids.view(), tokens.view()});

  HostTensor expected(DType::kI32, {5});
  expected.set_ints({7, 40, 0, 42, 40});
  EXPECT_EQ(ids.content(), expected.content());
}

TEST(FillIds, StopsAtACodeOfNoToken) {
  CpuStream stream(1);
  HostTensor ids(DType::kI32, {1});
  ids.set_ints({-4});
  HostTensor tokens(DType::kI32, {3});
  tokens.set_ints({40, 41, 42});

  EXPECT_DEATH(fill_ids(stream, {ids.view(), tokens.view()}), "shape");
}

TEST(Scatter, WritesTheEntriesItNamesAndNoOthers) {
  CpuStream stream(1);
  HostTensor index(DType::kI32, {3});
  index.set_ints({4, 0, 2});
  HostTensor values(DType::kI32, {3});
  values.set_ints({14, 10, 12});
  HostTensor table(DType::kI32, {5});
  table.set_ints({0, 1, 2, 3, 4});

  scatter(stream, {index.view(), values.view(), table.view()});

  HostTensor expected(DType::kI32, {5});
  expected.set_ints({10, 1, 12, 3, 14});
  EXPECT_EQ(table.content(), expected.content());
}

// A quarter turn of (1, 2, 3, 4): neighbours pair 1-2 and 3-4, halves pair 1-3 and 2-4.
TEST(Rope, PairsWhatItsNameSays) {
  CpuStream stream(1);
  HostTensor cos(DType::kF32, {1, 2});
  HostTensor sin(DType::kF32, {1, 2});
  HostTensor position(DType::kI32, {1});
  position.set_int(0, 0);
  HostTensor x(DType::kF32, {1, 1, 4});
  HostTensor y(DType::kF32, {1, 1, 4});
  for (std::int64_t i = 0; i < 4; ++i) x.set(i, static_cast<float>(i + 1));
  for (std::int64_t i = 0; i < 2; ++i) {
    cos.set(i, 0);
    sin.set(i, 1);
  }
  const auto turned = [&](ops::RopePairing pairing) {
    rope(stream, {x.view(), y.view(), position.view(), cos.view(), sin.view(), pairing});
    return std::vector<float>{y.get(0), y.get(1), y.get(2), y.get(3)};
  };

  EXPECT_EQ(turned(ops::RopePairing::kInterleaved), (std::vector<float>{-2, 1, -4, 3}));
  EXPECT_EQ(turned(ops::RopePairing::kHalfSplit), (std::vector<float>{-3, -4, 1, 2}));
}

TEST(Rope, BitsDependOnNeitherThreadsNorNeighbours) {
  std::mt19937 random(4);
  Tables tables(32);
  HostTensor x(DType::kBF16, {48, 16, 64});
  x.fill_wide(random);
  HostTensor positions(DType::kI32, {48});
  for (std::int64_t t = 0; t < 48; ++t) positions.set_int(t, static_cast<std::int32_t>(t));
  HostTensor want(DType::kBF16, {48, 16, 64});
  HostTensor threaded = want;
  HostTensor alone = want;
  CpuStream one(1);
  CpuStream three(3);

  rope(one, {x.view(), want.view(), positions.view(), tables.cos.view(), tables.sin.view()});
  rope(three, {x.view(), threaded.view(), positions.view(), tables.cos.view(), tables.sin.view()});
  for (std::int64_t t = 0; t < 48; ++t) {
    rope(one, {x.view().rows(t, 1), alone.view().rows(t, 1), positions.view().rows(t, 1),
               tables.cos.view(), tables.sin.view()});
  }

  EXPECT_EQ(threaded.content(), want.content());
  EXPECT_EQ(alone.content(), want.content());
}

std::int32_t best_of(const std::vector<float>& logits, float* log_sum = nullptr) {
  CpuStream stream(1);
  HostTensor row(DType::kF32, {1, static_cast<std::int64_t>(logits.size())});
  for (std::size_t i = 0; i < logits.size(); ++i) row.set(static_cast<std::int64_t>(i), logits[i]);
  HostTensor token(DType::kI32, {1});
  HostTensor sum(DType::kF32, {1});
  argmax(stream, {row.view(), token.view(), log_sum != nullptr ? sum.view() : TensorView()});
  if (log_sum != nullptr) *log_sum = sum.get(0);
  return token.get_int(0);
}

TEST(Argmax, TiesGoToTheLowestIdAndZerosAreEqual) {
  EXPECT_EQ(best_of({1, 3, 2, 3}), 1);
  EXPECT_EQ(best_of({-1, -0.0F, 0.0F}), 1);
  EXPECT_EQ(best_of({-1, 0.0F, -0.0F}), 1);
  EXPECT_EQ(best_of({-kInfinity, -kInfinity}), 0);
}

TEST(Argmax, NanNeverWinsUnlessAloneThere) {
  EXPECT_EQ(best_of({kNan, -kInfinity, kNan}), 1);
  EXPECT_EQ(best_of({kNan, -5, kNan, -4, kNan}), 3);
  EXPECT_EQ(best_of(std::vector<float>(20, kNan)), 0);
}

TEST(Argmax, FindsTheMaximumWhereverItIs) {
  for (const std::size_t n : {1U, 7U, 8U, 9U, 16U, 17U, 40U}) {
    for (std::size_t at = 0; at < n; ++at) {
      std::vector<float> logits(n, -2);
      logits[at] = -1;
      EXPECT_EQ(best_of(logits), static_cast<std::int32_t>(at));

      // NaN on both sides, in every lane, hides nothing.
      for (std::size_t i = 0; i < n; ++i) {
        if (i != at && i % 3 != at % 3) logits[i] = kNan;
      }
      EXPECT_EQ(best_of(logits), static_cast<std::int32_t>(at));
    }
  }
}

// A term of exp has 1.5 ulp, the lanes and the tree add n/16 + 4 roundings, the result one.
TEST(Argmax, LogSumStaysWithinItsBound) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  for (const std::size_t n : {1U, 15U, 16U, 17U, 1000U}) {
    std::vector<float> logits(n);
    for (float& logit : logits) logit = 5 * normal(random);
    long double sum = 0;
    for (const float logit : logits) sum += std::exp(static_cast<long double>(logit));
    const auto want = static_cast<double>(std::log(sum));
    float log_sum = 0;

    best_of(logits, &log_sum);

    const double error = (3 + static_cast<double>(n) / 16 + 4) * std::exp2(-24);
    EXPECT_NEAR(log_sum, want, error + std::fabs(want) * std::exp2(-24)) << n;
  }
}

TEST(Argmax, LogSumOfLargeLogitsDoesNotOverflowAndNanShows) {
  float log_sum = 0;

  best_of({1000, 1000}, &log_sum);
  EXPECT_EQ(log_sum, static_cast<float>(1000 + std::log(2.0)));

  best_of({-kInfinity, 4}, &log_sum);
  EXPECT_EQ(log_sum, 4.0F);

  best_of({kNan, 4}, &log_sum);
  EXPECT_TRUE(std::isnan(log_sum));
}

TEST(Argmax, BitsDependOnNeitherThreadsNorNeighbours) {
  std::mt19937 random(6);
  HostTensor logits(DType::kF32, {33, 2001}, 3);
  logits.fill_wide(random);
  HostTensor token(DType::kI32, {33});
  HostTensor sum(DType::kF32, {33});
  HostTensor token3 = token;
  HostTensor sum3 = sum;
  HostTensor token1 = token;
  HostTensor sum1 = sum;
  CpuStream one(1);
  CpuStream three(3);

  argmax(one, {logits.view(), token.view(), sum.view()});
  argmax(three, {logits.view(), token3.view(), sum3.view()});
  for (std::int64_t t = 0; t < 33; ++t) {
    argmax(one, {logits.view().rows(t, 1), token1.view().rows(t, 1), sum1.view().rows(t, 1)});
  }

  EXPECT_EQ(token3.content(), token.content());
  EXPECT_EQ(sum3.content(), sum.content());
  EXPECT_EQ(token1.content(), token.content());
  EXPECT_EQ(sum1.content(), sum.content());
}

}  // namespace
}  // namespace fathom::cpu
