// Draws that decide on drafts: ops::SampleArgs with acceptance thresholds below 1.

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/kernel_testing.h"
#include "backend/cpu/kernels.h"
#include "base/math.h"
#include "base/random.h"

namespace fathom::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr std::uint64_t kSeed = 0x123456789ABCDEFU;
constexpr std::uint32_t kSampleIndex = 2;

struct Case {
  std::vector<float> logits;
  std::int32_t draft = -1;
  float single = 1;
  float acc = 1;
  float temperature = 1;
  std::int32_t top_k = 0;
  float top_p = 1;
  float min_p = 0;

  std::string describe() const {
    return "vocab " + std::to_string(logits.size()) + ", draft " + std::to_string(draft) +
           ", thresholds " + std::to_string(single) + " " + std::to_string(acc) + ", temperature " +
           std::to_string(temperature) + ", top_k " + std::to_string(top_k) + ", top_p " +
           std::to_string(top_p) + ", min_p " + std::to_string(min_p);
  }
};

// The tokens of `positions` rows that are all of one case, at positions 0, 1, 2 …
std::vector<std::int32_t> draw(Case of, std::int64_t positions, bool with_drafts = true) {
  const auto floats = [&](float value) {
    HostTensor tensor(DType::kF32, {positions});
    for (std::int64_t i = 0; i < positions; ++i) tensor.set(i, value);
    return tensor;
  };
  const auto integers = [&](std::int32_t value) {
    HostTensor tensor(DType::kI32, {positions});
    for (std::int64_t i = 0; i < positions; ++i) tensor.set_int(i, value);
    return tensor;
  };
  HostTensor temperature = floats(of.temperature);
  HostTensor top_k = integers(of.top_k);
  HostTensor top_p = floats(of.top_p);
  HostTensor min_p = floats(of.min_p);
  HostTensor sample_index = integers(kSampleIndex);
  HostTensor position = integers(0);
  HostTensor draft = integers(of.draft);
  HostTensor token(DType::kI32, {positions});
  HostTensor seed(DType::kI32, {positions, 2});
  for (std::int64_t i = 0; i < positions; ++i) {
    position.set_int(i, static_cast<std::int32_t>(i));
    seed.set_int(2 * i, static_cast<std::int32_t>(kSeed & 0xFFFFFFFFU));
    seed.set_int(2 * i + 1, static_cast<std::int32_t>(kSeed >> 32U));
  }
  ops::SampleArgs args;
  args.logits =
      TensorView(of.logits.data(), DType::kF32, {1, static_cast<std::int64_t>(of.logits.size())});
  args.logits.shape[0] = positions;
  args.logits.stride[0] = 0;  // one row for all
  args.temperature = temperature.view();
  args.top_k = top_k.view();
  args.top_p = top_p.view();
  args.min_p = min_p.view();
  args.seed = seed.view();
  args.sample = sample_index.view();
  args.position = position.view();
  args.token = token.view();
  if (with_drafts) args.draft = draft.view();
  args.accept_threshold_single = of.single;
  args.accept_threshold_acc = of.acc;
  EXPECT_EQ(ops::validate(args).message(), "");
  CpuStream stream(1);
  sample(stream, args);
  std::vector<std::int32_t> tokens;
  for (std::int64_t i = 0; i < positions; ++i) tokens.push_back(token.get_int(i));
  return tokens;
}

// The masses of the tokens that the filters keep, 0 for the others (docs/arithmetic.md 14).
std::vector<std::uint64_t> kept_masses(const Case& of) {
  const std::vector<float>& x = of.logits;
  const float top = *std::max_element(x.begin(), x.end());
  std::vector<float> weight(x.size());
  std::vector<std::uint64_t> mass(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    weight[i] = exp_f32((x[i] - top) / of.temperature);
    mass[i] = static_cast<std::uint64_t>(std::nearbyint(static_cast<double>(weight[i]) * 0x1p40));
  }
  std::vector<std::size_t> order(x.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return x[a] > x[b]; });
  const std::uint64_t all = std::accumulate(mass.begin(), mass.end(), std::uint64_t{0});
  if (of.top_k > 0 && static_cast<std::size_t>(of.top_k) < order.size()) {
    order.resize(static_cast<std::size_t>(of.top_k));
  }
  std::uint64_t whole = 0;
  for (const std::size_t i : order) whole += mass[i];
  if (!(of.min_p > 0)) whole = all;
  const auto limit =
      static_cast<std::uint64_t>(static_cast<double>(of.top_p) * static_cast<double>(whole));
  std::vector<std::uint64_t> kept(x.size());
  std::uint64_t before = 0;
  for (const std::size_t i : order) {
    if (of.top_p < 1 && before > limit) break;
    before += mass[i];
    if (weight[i] >= of.min_p) kept[i] = mass[i];
  }
  return kept;
}

// Exactly: the part of the numbers below `whole` that random number `purpose` points at.
std::uint64_t number_below(std::uint64_t whole, std::uint32_t position, RandomPurpose purpose) {
  return below(random_u64(kSeed, kSampleIndex, position, purpose), whole);
}

std::int32_t defined_token(const Case& of, std::uint32_t position) {
  std::vector<std::uint64_t> mass = kept_masses(of);
  std::uint64_t whole = std::accumulate(mass.begin(), mass.end(), std::uint64_t{0});
  if (of.draft >= 0) {
    std::uint64_t& own = mass[static_cast<std::size_t>(of.draft)];
    const auto p = static_cast<double>(own);
    const auto u = static_cast<double>(number_below(whole, position, RandomPurpose::kAccept));
    if (own > 0 && (u < p / static_cast<double>(of.acc) ||
                    p >= static_cast<double>(of.single) * static_cast<double>(whole))) {
      return of.draft;
    }
    whole -= own;
    own = 0;
  }
  std::uint64_t target = number_below(whole, position, RandomPurpose::kSample);
  std::size_t id = 0;
  while (target >= mass[id]) target -= mass[id++];
  return static_cast<std::int32_t>(id);
}

std::vector<float> make_logits(std::mt19937& random, std::size_t vocab, bool tied) {
  std::normal_distribution<float> normal;
  std::vector<float> x(vocab);
  for (float& logit : x) {
    logit = 2 * normal(random);
    if (tied) logit = std::round(logit);
    if (random() % 8 == 0) logit = -kInfinity;
  }
  x[random() % vocab] = 3;
  return x;
}

Case random_case(std::mt19937& random, std::size_t vocab) {
  const auto one_of = [&](const std::vector<float>& choices) {
    return choices[random() % choices.size()];
  };
  Case made;
  made.logits = make_logits(random, vocab, random() % 2 == 0);
  made.single = one_of({0, 0.05F, 0.3F, 0.7F, 0.99F, 1});
  made.acc = one_of({0, 0.01F, 0.2F, 0.5F, 0.9F});
  made.temperature = one_of({1, 0.5F, 3});
  made.top_p = one_of({1, 1, 0.9F, 0.4F});
  made.min_p = one_of({0, 0, 0.05F, 0.5F});
  made.top_k = std::vector<std::int32_t>{0, 0, 1, 4, 40}[random() % 5];
  const auto largest = std::max_element(made.logits.begin(), made.logits.end());
  made.draft = random() % 2 == 0 ? static_cast<std::int32_t>(largest - made.logits.begin())
                                 : static_cast<std::int32_t>(random() % (vocab + 1)) - 1;
  return made;
}

TEST(SampleDrafts, GiveTheTokenOfTheirDefinition) {
  constexpr std::int64_t kPositions = 30;
  std::mt19937 random(1);
  for (const std::size_t vocab : {1U, 2U, 5U, 16U, 40U, 257U, 600U}) {
    for (int round = 0; round < 100; ++round) {
      const Case of = random_case(random, vocab);
      std::vector<std::int32_t> want;
      for (std::uint32_t i = 0; i < kPositions; ++i) want.push_back(defined_token(of, i));
      ASSERT_EQ(draw(of, kPositions), want) << of.describe();
    }
  }
}

// The rule in float64: with P the draft's probability, it comes with min(1, P / acc), or always
// from `single` on; the others share the rest.
std::vector<double> rule(const Case& of) {
  const std::vector<std::uint64_t> mass = kept_masses(of);
  const auto whole =
      static_cast<double>(std::accumulate(mass.begin(), mass.end(), std::uint64_t{0}));
  const auto draft = static_cast<std::size_t>(of.draft);
  const double own = static_cast<double>(mass[draft]) / whole;
  const double accepted =
      own >= static_cast<double>(of.single) ? 1 : std::min(1.0, own / static_cast<double>(of.acc));
  std::vector<double> probability(mass.size());
  for (std::size_t i = 0; i < mass.size(); ++i) {
    probability[i] =
        own < 1 ? (1 - accepted) * static_cast<double>(mass[i]) / whole / (1 - own) : 0;
  }
  probability[draft] = accepted;
  return probability;
}

// The statistic's mean is the number of possible tokens less one; five standard deviations either
// way are plausible.
TEST(SampleDrafts, FollowTheUsualRule) {
  constexpr std::int64_t kDraws = 50000;
  std::mt19937 random(2);
  const std::vector<float> x = make_logits(random, 30, false);
  const auto likely = static_cast<std::int32_t>(std::max_element(x.begin(), x.end()) - x.begin());
  std::int32_t unlikely = 0;
  while (!(x[static_cast<std::size_t>(unlikely)] < 0 && x[static_cast<std::size_t>(unlikely)] > -3))
    ++unlikely;
  const std::vector<Case> cases = {{x, likely, 1, 0.999F},
                                   {x, likely, 1, 0.7F},
                                   {x, unlikely, 1, 0.3F},
                                   {x, unlikely, 1, 0.05F, 1.5F, 20},
                                   {x, likely, 0.95F, 1, 1, 0, 0.9F},
                                   {x, unlikely, 0.5F, 0.1F, 2, 0, 1, 0.02F},
                                   {x, likely, 0.01F, 1}};
  for (const Case& of : cases) {
    SCOPED_TRACE(of.describe());
    std::vector<double> counts(x.size());
    for (const std::int32_t token : draw(of, kDraws)) ++counts[static_cast<std::size_t>(token)];
    const std::vector<double> expected = rule(of);
    double statistic = 0;
    double degrees = -1;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double many = expected[i] * double{kDraws};
      if (many == 0) {
        EXPECT_EQ(counts[i], 0) << i;
        continue;
      }
      statistic += (counts[i] - many) * (counts[i] - many) / many;
      ++degrees;
    }
    EXPECT_LE(std::fabs(statistic - degrees), 5 * std::sqrt(2 * degrees)) << degrees;
  }
}

TEST(SampleDrafts, HaveNoSayWithThresholdsOfOne) {
  std::mt19937 random(3);
  for (int round = 0; round < 100; ++round) {
    Case of = random_case(random, 40);
    of.single = of.acc = 1;
    EXPECT_EQ(draw(of, 20), draw(of, 20, false)) << of.describe();
  }
}

TEST(SampleDrafts, AreNothingToRowsWithoutOne) {
  std::mt19937 random(4);
  for (int round = 0; round < 100; ++round) {
    Case of = random_case(random, 40);
    of.draft = -1;
    EXPECT_EQ(draw(of, 20), draw(of, 20, false)) << of.describe();
  }
}

TEST(SampleDrafts, AreAllAcceptedFromAThresholdOfZeroWhenTheyMayBeDrawn) {
  const std::vector<std::int32_t> all(200, 2);
  Case of{{5, 4, -9, -kInfinity}, 2, 0};
  EXPECT_EQ(draw(of, 200), all);
  of.single = 1;
  of.acc = 0;
  EXPECT_EQ(draw(of, 200), all);
  // Not when the filters or a mask leave them out.
  for (const std::int32_t draft : {2, 3}) {
    of = {{5, 4, -9, -kInfinity}, draft, 0, 0, 1, 2};
    for (const std::int32_t token : draw(of, 200)) EXPECT_LT(token, 2);
  }
}

TEST(SampleDrafts, AreNothingToGreedyRowsAndThoseOfAnInfiniteLogit) {
  EXPECT_EQ(draw({{1, 3, 2}, 2, 0, 0, 0}, 5), std::vector<std::int32_t>(5, 1));
  EXPECT_EQ(draw({{1, 2, kInfinity}, 1, 0, 0}, 5), std::vector<std::int32_t>(5, 2));
}

// The only token there is has all of the probability: the rest, which has none, is never drawn
// from.
TEST(SampleDrafts, ThatAreCertainAreAccepted) {
  EXPECT_EQ(draw({{1, 3, 2}, 1, 0.5F, 1, 1, 1}, 50), std::vector<std::int32_t>(50, 1));
  EXPECT_EQ(draw({{0, 900, 0}, 1, 1, 0.5F}, 50), std::vector<std::int32_t>(50, 1));
}

}  // namespace
}  // namespace fathom::cpu
