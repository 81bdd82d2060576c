#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/guarded_copy.h"
#include "backend/cpu/instruction_sets_testing.h"
#include "backend/cpu/kernel_testing.h"
#include "backend/cpu/kernels.h"
#include "base/math.h"

namespace fathom::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// The operands of one call over rows of logits.
struct Scores {
  Scores(std::int64_t rows, std::int64_t top, std::int64_t asked_tokens)
      : temperature(DType::kF32, {rows}),
        token(DType::kI32, {rows}),
        logprob(DType::kF32, {rows}),
        top_ids(DType::kI32, {rows, std::max<std::int64_t>(top, 1)}, 2),
        top_logprobs(DType::kF32, {rows, std::max<std::int64_t>(top, 1)}, 3),
        asked(DType::kI32, {rows, std::max<std::int64_t>(asked_tokens, 1)}, 1),
        asked_logprobs(DType::kF32, {rows, std::max<std::int64_t>(asked_tokens, 1)}),
        with_top(top > 0),
        with_asked(asked_tokens > 0) {
    for (std::int64_t t = 0; t < rows; ++t) {
      temperature.set(t, 1);
      token.set_int(t, 0);
    }
  }

  void run(CpuStream& stream, const TensorView& logits) { run(stream, logits, 0, logits.shape[0]); }
  void run(CpuStream& stream, const TensorView& logits, std::int64_t begin, std::int64_t count) {
    const auto part = [&](HostTensor& of) { return of.view().rows(begin, count); };
    ops::LogprobsArgs args;
    args.logits = logits;
    args.temperature = part(temperature);
    args.token = part(token);
    args.logprob = part(logprob);
    if (with_top) args.top_ids = part(top_ids);
    if (with_top) args.top_logprobs = part(top_logprobs);
    if (with_asked) args.asked = part(asked);
    if (with_asked) args.asked_logprobs = part(asked_logprobs);
    EXPECT_EQ(ops::validate(args).message(), "");
    logprobs(stream, args);
  }

  HostTensor temperature;
  HostTensor token;
  HostTensor logprob;
  HostTensor top_ids;
  HostTensor top_logprobs;
  HostTensor asked;
  HostTensor asked_logprobs;
  bool with_top;
  bool with_asked;
};

TensorView one_row(std::vector<float>& x) {
  return {x.data(), DType::kF32, {1, static_cast<std::int64_t>(x.size())}};
}

// The log-probability of every token, all asked for at once.
std::vector<float> all_logprobs(CpuStream& stream, std::vector<float> x, float temperature) {
  const auto vocab = static_cast<std::int64_t>(x.size());
  Scores scores(1, 0, vocab);
  scores.temperature.set(0, temperature);
  for (std::int64_t i = 0; i < vocab; ++i) scores.asked.set_int(i, static_cast<std::int32_t>(i));
  scores.run(stream, one_row(x));
  std::vector<float> logprobs;
  for (std::int64_t i = 0; i < vocab; ++i) logprobs.push_back(scores.asked_logprobs.get(i));
  return logprobs;
}

// By the letter of docs/arithmetic.md 8.
std::vector<float> defined_logprobs(const std::vector<float>& x, float temperature) {
  const float t = temperature < 1e-6F ? 1 : temperature;
  const float top = *std::max_element(x.begin(), x.end());
  std::vector<float> terms;
  terms.reserve(x.size());
  for (const float logit : x) terms.push_back(exp_f32((logit - top) / t));
  const double log_sum = log_f64(static_cast<double>(canonical_sum(terms)));
  std::vector<float> logprobs;
  logprobs.reserve(x.size());
  for (const float logit : x) {
    logprobs.push_back(static_cast<float>((static_cast<double>(logit) - static_cast<double>(top)) /
                                              static_cast<double>(t) -
                                          log_sum));
  }
  return logprobs;
}

std::vector<float> normal_logits(std::mt19937& random, std::size_t vocab, float spread) {
  std::normal_distribution<float> normal;
  std::vector<float> x(vocab);
  for (float& logit : x) logit = spread * normal(random);
  return x;
}

const std::vector<std::size_t> kVocabs = {1, 2, 15, 16, 17, 31, 32, 33, 3072};

TEST(Logprobs, HaveTheBitsOfTheirDefinition) {
  on_every_instruction_set([] {
    CpuStream stream(1);
    std::mt19937 random(1);
    for (const std::size_t vocab : kVocabs) {
      for (const float temperature : {0.0F, 1.0F, 0.3F, 2.5F, 1e-6F, 1e6F}) {
        const std::vector<float> x = normal_logits(random, vocab, 4);
        ASSERT_EQ(all_logprobs(stream, x, temperature), defined_logprobs(x, temperature))
            << "vocab " << vocab << ", temperature " << temperature;
      }
    }
  });
}

// Errors of one logarithm of the sum: each weight's argument d has two roundings, which the
// exponential turns into a relative error of 2^-23 |d|; the exponential itself is off by at
// most 1.5 ulp, 1.5 * 2^-23 of its value; a lane adds ceil(vocab / 16) numbers and the tree four
// times, 2^-24 each; what flushes to 0 is below 2^-149 a token. The final rounding is 2^-24 of the
// result.
TEST(Logprobs, StayWithinTheDerivedBoundOfFloat64) {
  CpuStream stream(1);
  std::mt19937 random(2);
  std::vector<std::size_t> vocabs = kVocabs;
  vocabs.push_back(129280);
  for (const std::size_t vocab : vocabs) {
    for (const float temperature : {1.0F, 0.3F, 3.0F}) {
      for (const float spread : {0.01F, 4.0F, 60.0F}) {
        const std::vector<float> x = normal_logits(random, vocab, spread);
        const auto top = static_cast<double>(*std::max_element(x.begin(), x.end()));
        double sum = 0;
        double error = 0;
        for (const float logit : x) {
          const double d = (static_cast<double>(logit) - top) / static_cast<double>(temperature);
          sum += std::exp(d);
          error += std::exp(d) * (0x1p-23 * std::fabs(d) + 1.5 * 0x1p-23);
        }
        const double adds = std::ceil(static_cast<double>(vocab) / 16) + 4;
        // Second-order terms and float64's own errors are below a thousandth of it.
        const double sum_bound = 1.001 * (error / sum + adds * 0x1p-24);

        const std::vector<float> logprobs = all_logprobs(stream, x, temperature);

        double total = 0;
        for (std::size_t i = 0; i < vocab; ++i) {
          const double want =
              (static_cast<double>(x[i]) - top) / static_cast<double>(temperature) - std::log(sum);
          ASSERT_NEAR(static_cast<double>(logprobs[i]), want,
                      sum_bound + 0x1p-24 * std::fabs(want) + 1e-15)
              << "vocab " << vocab << ", token " << i;
          ASSERT_LE(logprobs[i], 0.0F);
          total += std::exp(static_cast<double>(logprobs[i]));
        }
        const double entropy_bound = 0x1p-24 * (std::log(static_cast<double>(vocab)) + 1);
        EXPECT_NEAR(total, 1, 1.001 * (sum_bound + entropy_bound)) << "vocab " << vocab;
      }
    }
  }
}

// What argmax tells beside the token is the same sum.
TEST(Logprobs, AgreeWithTheArgmaxSum) {
  CpuStream stream(1);
  std::mt19937 random(3);
  std::vector<float> x = normal_logits(random, 3072, 3);
  HostTensor token(DType::kI32, {1});
  HostTensor log_sum(DType::kF32, {1});

  argmax(stream, {one_row(x), token.view(), log_sum.view()});

  const auto best = static_cast<std::size_t>(token.get_int(0));
  const float logprob = all_logprobs(stream, x, 1)[best];
  // Roundings of the sum, of the difference and of the log-probability.
  const float bound = 0x1.01p-24F * (std::fabs(log_sum.get(0)) + 2 * std::fabs(logprob));
  EXPECT_NEAR(x[best] - log_sum.get(0), logprob, bound);
}

TEST(Logprobs, ListTheBestOfARowAsAStableSortDoes) {
  on_every_instruction_set([] {
    CpuStream stream(1);
    std::mt19937 random(4);
    const std::vector<float> pool = {0.0F, -0.0F, 1.0F, -1.0F, -kInfinity, 2.0F};
    for (int round = 0; round < 300; ++round) {
      const std::size_t vocab = 1 + random() % 200;
      const std::size_t top = 1 + random() % vocab;
      std::vector<float> x = normal_logits(random, vocab, 3);
      if (round % 3 == 0) {
        for (float& logit : x) logit = pool[random() % pool.size()];
      } else if (round % 3 == 1) {  // the worst case of an insertion
        std::sort(x.begin(), x.end());
      }
      x[random() % vocab] = 2;  // the largest is finite
      std::vector<std::int32_t> order(vocab);
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
        return x[static_cast<std::size_t>(a)] > x[static_cast<std::size_t>(b)];
      });
      Scores scores(1, static_cast<std::int64_t>(top), 0);

      scores.run(stream, one_row(x));

      const std::vector<float> logprobs = all_logprobs(stream, x, 1);
      for (std::size_t i = 0; i < top; ++i) {
        const auto at = static_cast<std::int64_t>(i);
        ASSERT_EQ(scores.top_ids.get_int(at), order[i]) << "round " << round << ", " << i;
        ASSERT_EQ(scores.top_logprobs.get(at), logprobs[static_cast<std::size_t>(order[i])]);
      }
      ASSERT_TRUE(scores.top_ids.margins_are_poison());
      ASSERT_TRUE(scores.top_logprobs.margins_are_poison());
    }
  });
}

TEST(Logprobs, MaskedTokensHaveMinusInfinityAndPaddingNan) {
  CpuStream stream(1);
  std::vector<float> x = {1, -kInfinity, 1, -kInfinity};
  Scores scores(1, 4, 3);
  scores.token.set_int(0, 3);
  scores.asked.set_ints({2, -1, 1});

  scores.run(stream, one_row(x));

  const auto half = static_cast<float>(-std::log(2.0));
  EXPECT_EQ(scores.logprob.get(0), -kInfinity);
  EXPECT_EQ(scores.asked_logprobs.get(0), half);
  EXPECT_TRUE(std::isnan(scores.asked_logprobs.get(1)));
  EXPECT_EQ(scores.asked_logprobs.get(2), -kInfinity);
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < 4; ++i) ids.push_back(scores.top_ids.get_int(i));
  EXPECT_EQ(ids, (std::vector<std::int32_t>{0, 2, 1, 3}));
  EXPECT_EQ(scores.top_logprobs.get(1), half);
  EXPECT_EQ(scores.top_logprobs.get(3), -kInfinity);
}

TEST(Logprobs, RowsThatHaveNoneAreNanThroughoutAndSpoilNoOther) {
  CpuStream stream(1);
  std::vector<float> x = {1,         kNan, 2,    -kInfinity, -kInfinity, -kInfinity, 0, 1,
                          kInfinity, kNan, kNan, kNan,       0,          0,          0};
  Scores scores(5, 3, 0);

  scores.run(stream, {x.data(), DType::kF32, {5, 3}});

  for (std::int64_t t = 0; t < 4; ++t) {
    EXPECT_TRUE(std::isnan(scores.logprob.get(t))) << t;
    for (std::int64_t i = 0; i < 3; ++i) {
      EXPECT_TRUE(std::isnan(scores.top_logprobs.get(3 * t + i))) << t;
    }
  }
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < 15; ++i) ids.push_back(scores.top_ids.get_int(i));
  EXPECT_EQ(ids, (std::vector<std::int32_t>{2, 0, 1, 0, 1, 2, 2, 1, 0, 0, 1, 2, 0, 1, 2}));
  EXPECT_EQ(scores.logprob.get(4), static_cast<float>(-std::log(3.0)));
}

TEST(Logprobs, BitsDependOnNeitherThreadsNorNeighbours) {
  constexpr std::int64_t kRows = 40;
  constexpr std::int64_t kVocab = 3001;
  std::mt19937 random(5);
  HostTensor logits(DType::kF32, {kRows, kVocab}, 3);
  logits.fill_wide(random);
  Scores want(kRows, 9, 2);
  for (std::int64_t t = 0; t < kRows; ++t) {
    want.temperature.set(t, static_cast<float>(t % 5) * 0.4F);
    want.token.set_int(t, static_cast<std::int32_t>(random() % kVocab));
    want.asked.set_int(2 * t, static_cast<std::int32_t>(random() % kVocab));
    want.asked.set_int(2 * t + 1, -1);
  }
  Scores threaded = want;
  Scores alone = want;
  CpuStream one(1);
  CpuStream three(3);

  want.run(one, logits.view());
  threaded.run(three, logits.view());
  for (std::int64_t t = 0; t < kRows; ++t) alone.run(one, logits.view().rows(t, 1), t, 1);

  for (const Scores* other : {&threaded, &alone}) {
    EXPECT_EQ(other->logprob.content(), want.logprob.content());
    EXPECT_EQ(other->top_ids.content(), want.top_ids.content());
    EXPECT_EQ(other->top_logprobs.content(), want.top_logprobs.content());
    EXPECT_EQ(other->asked_logprobs.content(), want.asked_logprobs.content());
  }
}

TEST(Logprobs, ReadNothingBeyondARow) {
  CpuStream stream(1);
  std::mt19937 random(6);
  for (const std::int64_t vocab : kAwkwardWidths) {
    std::vector<float> x = normal_logits(random, static_cast<std::size_t>(vocab), 2);
    const GuardedCopy guarded(std::as_bytes(std::span(x)));
    Scores scores(1, 1, 0);

    scores.run(stream, TensorView(guarded.data(), DType::kF32, {1, vocab}));

    EXPECT_EQ(scores.logprob.get(0), defined_logprobs(x, 1)[0]);
  }
}

}  // namespace
}  // namespace fathom::cpu
