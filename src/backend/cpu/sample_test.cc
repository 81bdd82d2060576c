#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/guarded_copy.h"
#include "backend/cpu/instruction_sets_testing.h"
#include "backend/cpu/kernel_testing.h"
#include "backend/cpu/kernels.h"
#include "base/math.h"
#include "base/random.h"

namespace fathom::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Settings {
  float temperature = 1;
  std::int32_t top_k = 0;
  float top_p = 1;
  float min_p = 0;
  std::uint64_t seed = 1;
  std::int32_t sample = 0;
  std::int32_t position = 0;

  std::string describe() const {
    return "temperature " + std::to_string(temperature) + ", top_k " + std::to_string(top_k) +
           ", top_p " + std::to_string(top_p) + ", min_p " + std::to_string(min_p) + ", seed " +
           std::to_string(seed) + ", position " + std::to_string(position);
  }
};

// The operands of one call.
class Draws {
 public:
  explicit Draws(const std::vector<Settings>& rows)
      : temperature_(DType::kF32, {size(rows)}),
        top_k_(DType::kI32, {size(rows)}),
        top_p_(DType::kF32, {size(rows)}),
        min_p_(DType::kF32, {size(rows)}),
        seed_(DType::kI32, {size(rows), 2}, 1),
        sample_(DType::kI32, {size(rows)}),
        position_(DType::kI32, {size(rows)}),
        token_(DType::kI32, {size(rows)}) {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto at = static_cast<std::int64_t>(i);
      temperature_.set(at, rows[i].temperature);
      top_k_.set_int(at, rows[i].top_k);
      top_p_.set(at, rows[i].top_p);
      min_p_.set(at, rows[i].min_p);
      seed_.set_int(2 * at, static_cast<std::int32_t>(rows[i].seed & 0xFFFFFFFFU));
      seed_.set_int(2 * at + 1, static_cast<std::int32_t>(rows[i].seed >> 32U));
      sample_.set_int(at, rows[i].sample);
      position_.set_int(at, rows[i].position);
    }
  }

  std::vector<std::int32_t> run(CpuStream& stream, const TensorView& logits) {
    return run(stream, logits, 0, logits.shape[0]);
  }
  // Rows [begin, begin + count) of the settings, with as many rows of logits.
  std::vector<std::int32_t> run(CpuStream& stream,
                                const TensorView& logits,
                                std::int64_t begin,
                                std::int64_t count) {
    const auto part = [&](HostTensor& of) { return of.view().rows(begin, count); };
    const ops::SampleArgs args{logits,        part(temperature_), part(top_k_),
                               part(top_p_),  part(min_p_),       part(seed_),
                               part(sample_), part(position_),    part(token_)};
    EXPECT_EQ(ops::validate(args).message(), "");
    sample(stream, args);
    std::vector<std::int32_t> tokens;
    for (std::int64_t i = begin; i < begin + count; ++i) tokens.push_back(token_.get_int(i));
    return tokens;
  }

 private:
  static std::int64_t size(const std::vector<Settings>& rows) {
    return static_cast<std::int64_t>(rows.size());
  }
  HostTensor temperature_;
  HostTensor top_k_;
  HostTensor top_p_;
  HostTensor min_p_;
  HostTensor seed_;
  HostTensor sample_;
  HostTensor position_;
  HostTensor token_;
};

std::int32_t draw(CpuStream& stream, std::vector<float> logits, const Settings& settings) {
  const auto vocab = static_cast<std::int64_t>(logits.size());
  return Draws({settings}).run(stream, TensorView(logits.data(), DType::kF32, {1, vocab}))[0];
}

std::int32_t argmax_of(const std::vector<float>& x) {
  std::size_t best = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (std::isnan(x[best]) || x[i] > x[best]) best = i;
  }
  return std::isnan(x[best]) ? 0 : static_cast<std::int32_t>(best);
}

// Ids by descending logit, ties ascending; NaN and masked tokens left out.
std::vector<std::size_t> ranked(const std::vector<float>& x) {
  std::vector<std::size_t> ids;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (x[i] > -kInfinity) ids.push_back(i);
  }
  std::stable_sort(ids.begin(), ids.end(),
                   [&](std::size_t a, std::size_t b) { return x[a] > x[b]; });
  return ids;
}

// The tokens that the filters keep, in rank order, by the letter of docs/arithmetic.md 14. Number
// is the type of sums: integers for the very definition, floats for what it stands for. `weight` is
// one number a token, `part(sum)` that sum's share top_p.
template <class Number, class Part>
std::vector<std::size_t> kept_of(const std::vector<float>& x,
                                 const std::vector<Number>& weight,
                                 const Settings& settings,
                                 const Part& part) {
  std::vector<std::size_t> order = ranked(x);
  const std::vector<std::size_t> all = order;
  if (settings.top_k > 0 && static_cast<std::size_t>(settings.top_k) < order.size()) {
    order.resize(static_cast<std::size_t>(settings.top_k));
  }
  if (settings.top_p < 1) {
    Number whole = 0;
    for (const std::size_t i : settings.min_p > 0 ? order : all) whole += weight[i];
    std::size_t count = 0;
    for (Number before = 0; count < order.size() && before <= part(whole); ++count) {
      before += weight[order[count]];
    }
    order.resize(count);
  }
  return order;
}

// The operation's definition without any haste.
std::int32_t defined_token(const std::vector<float>& x, const Settings& settings) {
  const std::int32_t greedy = argmax_of(x);
  const float top = x[static_cast<std::size_t>(greedy)];
  if (settings.temperature < 1e-6F || !std::isfinite(top)) return greedy;
  std::vector<float> weight(x.size());
  std::vector<std::uint64_t> mass(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    weight[i] = std::isnan(x[i]) ? 0 : exp_f32((x[i] - top) / settings.temperature);
    mass[i] = static_cast<std::uint64_t>(std::nearbyint(static_cast<double>(weight[i]) * 0x1p40));
  }
  const auto part = [&](std::uint64_t whole) {
    return static_cast<std::uint64_t>(static_cast<double>(settings.top_p) *
                                      static_cast<double>(whole));
  };
  std::vector<std::size_t> kept = kept_of(x, mass, settings, part);
  std::erase_if(kept, [&](std::size_t i) { return weight[i] < settings.min_p; });
  std::sort(kept.begin(), kept.end());
  std::uint64_t sum = 0;
  for (const std::size_t i : kept) sum += mass[i];
  const std::uint64_t target =
      below(random_u64(settings.seed, static_cast<std::uint32_t>(settings.sample),
                       static_cast<std::uint32_t>(settings.position), RandomPurpose::kSample),
            sum);
  sum = 0;
  for (const std::size_t i : kept) {
    sum += mass[i];
    if (target < sum) return static_cast<std::int32_t>(i);
  }
  ADD_FAILURE() << "no token";
  return -1;
}

// What the distribution should be, in float64.
std::vector<double> target_distribution(const std::vector<float>& x, const Settings& settings) {
  const auto top = static_cast<double>(*std::max_element(x.begin(), x.end()));
  std::vector<double> p(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    p[i] = std::exp((static_cast<double>(x[i]) - top) / static_cast<double>(settings.temperature));
  }
  const auto part = [&](double whole) { return static_cast<double>(settings.top_p) * whole; };
  std::vector<std::size_t> kept = kept_of(x, p, settings, part);
  std::erase_if(kept, [&](std::size_t i) { return p[i] < static_cast<double>(settings.min_p); });
  std::vector<double> filtered(x.size());
  double sum = 0;
  for (const std::size_t i : kept) sum += p[i];
  for (const std::size_t i : kept) filtered[i] = p[i] / sum;
  return filtered;
}

enum class Shape { kNormal, kTied, kMasked, kFlat, kSteep, kNans, kPeaked };

std::vector<float> make_logits(std::mt19937& random, std::size_t vocab, Shape shape) {
  std::normal_distribution<float> normal;
  std::vector<float> x(vocab);
  for (float& logit : x) {
    switch (shape) {
      case Shape::kNormal:
        logit = 3 * normal(random);
        break;
      case Shape::kTied:  // few values, both zeros among them
        logit = 0.5F * std::round(3 * normal(random));
        break;
      case Shape::kMasked:
        logit = random() % 4 == 0 ? 2 * normal(random) : -kInfinity;
        break;
      case Shape::kFlat:
        logit = 7.25F;
        break;
      case Shape::kSteep:
        logit = 1e30F * normal(random);
        break;
      case Shape::kNans:
        logit = random() % 4 == 0 ? kNan : normal(random);
        break;
      case Shape::kPeaked:  // as a language model's: a few tokens above a wide floor
        logit = normal(random) + (random() % 1000 < 3 ? 12.0F + 2 * normal(random) : 0.0F);
        break;
    }
  }
  return x;
}

const std::vector<Shape> kShapes = {Shape::kNormal, Shape::kTied, Shape::kMasked, Shape::kFlat,
                                    Shape::kSteep,  Shape::kNans, Shape::kPeaked};

Settings random_settings(std::mt19937& random, std::size_t vocab) {
  const auto one_of = [&](const std::vector<float>& choices) {
    return choices[random() % choices.size()];
  };
  Settings settings;
  settings.temperature = one_of({1, 1, 0.6F, 0.05F, 2, 1e-6F, 1e6F, 1e38F, 0, 9e-7F});
  settings.top_p = one_of({1, 1, 0.95F, 0.5F, 1e-6F, 1e-30F, 0.99999994F});
  settings.min_p = one_of({0, 0, 0, 0.02F, 0.5F, 1});
  const std::vector<std::int32_t> counts = {0,
                                            0,
                                            1,
                                            2,
                                            20,
                                            static_cast<std::int32_t>(vocab),
                                            static_cast<std::int32_t>(vocab) + 5,
                                            1 + static_cast<std::int32_t>(random() % vocab)};
  settings.top_k = counts[random() % counts.size()];
  settings.seed = std::uint64_t{random()} << 32U | random();
  settings.sample = static_cast<std::int32_t>(random() % 3);
  settings.position = static_cast<std::int32_t>(random() % 100000);
  return settings;
}

void expect_defined_tokens(std::mt19937& random, std::size_t vocab, int rounds) {
  CpuStream stream(1);
  for (int round = 0; round < rounds; ++round) {
    const auto shape = static_cast<std::size_t>(round) % kShapes.size();
    const std::vector<float> x = make_logits(random, vocab, kShapes[shape]);
    const Settings settings = random_settings(random, vocab);

    ASSERT_EQ(draw(stream, x, settings), defined_token(x, settings))
        << "vocab " << vocab << ", shape " << shape << ", " << settings.describe();
  }
}

TEST(Sample, GivesTheTokenOfItsDefinition) {
  on_every_instruction_set([] {
    std::mt19937 random(1);
    for (const std::size_t vocab : {1U, 2U, 7U, 15U, 16U, 17U, 255U, 256U, 257U, 515U}) {
      expect_defined_tokens(random, vocab, 140);
    }
    expect_defined_tokens(random, 3072, 70);
  });
}

TEST(Sample, GivesTheTokenOfItsDefinitionOverAFullVocabulary) {
  std::mt19937 random(2);
  expect_defined_tokens(random, 129280, 28);
}

// Many draws at a temperature that brings every kept token soon, so that a wrong boundary of top_k
// or top_p cannot hide behind a lucky draw.
void expect_kept_tokens(std::mt19937& random, std::size_t vocab, std::int32_t top_k, Shape shape) {
  CpuStream stream(1);
  const std::vector<float> x = make_logits(random, vocab, shape);
  Settings settings = random_settings(random, vocab);
  if (top_k > 0) settings.top_k = top_k;
  settings.temperature = 8;
  for (std::int32_t position = 0; position < 100; ++position) {
    settings.position = position;
    ASSERT_EQ(draw(stream, x, settings), defined_token(x, settings))
        << "vocab " << vocab << ", " << settings.describe();
  }
}

TEST(Sample, KeepsExactlyTheTokensOfItsDefinition) {
  std::mt19937 random(3);
  for (int round = 0; round < 120; ++round) {
    expect_kept_tokens(random, 2 + random() % 12, 0,
                       round % 2 == 0 ? Shape::kTied : Shape::kNormal);
  }
  // Few of many: the search for candidates begins at a bound.
  for (int round = 0; round < 12; ++round) {
    expect_kept_tokens(random, 2000 + random() % 4000, 1 + static_cast<std::int32_t>(random() % 9),
                       kShapes[static_cast<std::size_t>(round) % kShapes.size()]);
  }
}

// Against the distribution that the definition stands for, in float64: the statistic's mean is the
// number of kept tokens less one, and five standard deviations either way are plausible.
TEST(Sample, DrawsFollowTheFilteredDistribution) {
  constexpr std::int64_t kDraws = 50000;
  std::mt19937 random(4);
  CpuStream stream(2);
  const std::vector<Settings> all = {
      {1, 0, 1, 0},    {0.7F, 0, 1, 0},      {1, 0, 0.9F, 0}, {1, 10, 1, 0},    {1.5F, 12, 0.6F, 0},
      {1, 0, 1, 0.1F}, {2, 30, 0.9F, 0.05F}, {1, 1, 1, 0},    {1, 0, 1e-6F, 0}, {1, 0, 1, 1}};
  for (std::size_t round = 0; round < all.size(); ++round) {
    const Settings& settings = all[round];
    SCOPED_TRACE(settings.describe());
    std::vector<float> x = make_logits(random, 30, round % 3 == 0 ? Shape::kTied : Shape::kNormal);
    for (float& logit : x) logit *= 0.5F;
    std::vector<Settings> rows(kDraws, settings);
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i].position = static_cast<std::int32_t>(i);
    TensorView logits(x.data(), DType::kF32, {1, 30});
    logits.shape[0] = kDraws;
    logits.stride[0] = 0;  // one row for all

    std::vector<double> counts(x.size());
    for (const std::int32_t token : Draws(rows).run(stream, logits)) {
      ++counts[static_cast<std::size_t>(token)];
    }

    const std::vector<double> target = target_distribution(x, settings);
    double statistic = 0;
    double degrees = -1;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double expected = target[i] * double{kDraws};
      if (expected == 0) {
        EXPECT_EQ(counts[i], 0) << i;
        continue;
      }
      statistic += (counts[i] - expected) * (counts[i] - expected) / expected;
      ++degrees;
    }
    EXPECT_LE(std::fabs(statistic - degrees), 5 * std::sqrt(2 * degrees)) << degrees;
  }
}

TEST(Sample, TopKTakesTheLowestIdsOfATie) {
  CpuStream stream(1);
  Settings settings;
  settings.top_k = 3;
  std::vector<int> counts(6);
  for (settings.position = 0; settings.position < 300; ++settings.position) {
    ++counts[static_cast<std::size_t>(draw(stream, {1, 2, 1, 2, 1, 1}, settings))];
  }
  EXPECT_GT(counts[0], 0);
  EXPECT_GT(counts[1], 0);
  EXPECT_GT(counts[3], 0);
  EXPECT_EQ(counts[2] + counts[4] + counts[5], 0);
}

TEST(Sample, TopPKeepsTheTokenThatCrossesItAndOneWhoseMassBeforeIsJustThat) {
  CpuStream stream(1);
  Settings settings;
  std::vector<int> counts(4);
  settings.top_p = 0.5F;  // the mass before the third of four equal tokens
  for (settings.position = 0; settings.position < 300; ++settings.position) {
    ++counts[static_cast<std::size_t>(draw(stream, {5, 5, 5, 5}, settings))];
  }
  EXPECT_GT(counts[0], 0);
  EXPECT_GT(counts[1], 0);
  EXPECT_GT(counts[2], 0);
  EXPECT_EQ(counts[3], 0);
}

// Two equal tokens of four, 0.5 of the whole: with min_p the part is of the two alone, so 0.4 of
// them keeps one; without it, both.
TEST(Sample, MinPMakesTopPAPartOfTheTopK) {
  CpuStream stream(1);
  Settings joint;
  joint.top_k = 2;
  joint.top_p = 0.4F;
  Settings renormalised = joint;
  renormalised.min_p = 0.001F;
  int others = 0;
  for (joint.position = 0; joint.position < 100; ++joint.position) {
    renormalised.position = joint.position;
    others += draw(stream, {0, 0, 0, 0}, joint) == 1 ? 1 : 0;
    EXPECT_EQ(draw(stream, {0, 0, 0, 0}, renormalised), 0);
  }
  EXPECT_GT(others, 0);
}

// More tokens asked for than are unmasked: the part is of those that there are.
TEST(Sample, TopPHoldsAlsoWhenTopKFindsTooFewTokens) {
  CpuStream stream(1);
  Settings settings;
  settings.top_k = 5;
  settings.top_p = 0.4F;
  settings.min_p = 0.001F;
  for (settings.position = 0; settings.position < 100; ++settings.position) {
    EXPECT_EQ(draw(stream, {-kInfinity, 1, -kInfinity, 1, -kInfinity, -kInfinity}, settings), 1);
  }
}

TEST(Sample, GreedyRowsTakeTheLowestOfTheLargest) {
  CpuStream stream(1);
  Settings greedy;
  greedy.temperature = 0;
  Settings almost;
  almost.temperature = 9.9e-7F;
  Settings one;
  one.top_k = 1;
  for (std::int32_t position = 0; position < 50; ++position) {
    greedy.position = almost.position = one.position = position;
    EXPECT_EQ(draw(stream, {1, 3, 2, 3, kNan}, greedy), 1);
    EXPECT_EQ(draw(stream, {1, 3, 2, 3, kNan}, almost), 1);
    EXPECT_EQ(draw(stream, {1, 3, 2, 3, kNan}, one), 1);
  }
  EXPECT_EQ(draw(stream, {-0.0F, 0.0F}, greedy), 0);
}

TEST(Sample, RowsWithoutAFiniteLargestLogitHaveADefinedToken) {
  CpuStream stream(1);
  for (const float temperature : {0.0F, 1.0F}) {
    for (const float top_p : {1.0F, 0.5F}) {
      Settings settings;
      settings.temperature = temperature;
      settings.top_p = top_p;
      EXPECT_EQ(draw(stream, {kNan, kNan, kNan}, settings), 0);
      EXPECT_EQ(draw(stream, {-kInfinity, -kInfinity}, settings), 0);
      EXPECT_EQ(draw(stream, {kNan, -kInfinity, -kInfinity}, settings), 1);
      EXPECT_EQ(draw(stream, {0, kInfinity, kNan, kInfinity}, settings), 1);
    }
  }
}

// Settings outside their ranges are somebody's bug, but no reason to loop or crash.
TEST(Sample, SettingsOutOfRangeStillGiveAToken) {
  CpuStream stream(1);
  std::mt19937 random(5);
  const std::vector<float> x = make_logits(random, 300, Shape::kMasked);
  for (const float odd : {kNan, kInfinity, -kInfinity, -1.0F, 2.0F}) {
    for (int which = 0; which < 4; ++which) {
      Settings settings;
      settings.top_p = 0.9F;
      (which == 0 ? settings.temperature : which == 1 ? settings.top_p : settings.min_p) = odd;
      if (which == 3) settings.top_k = -7;
      const std::int32_t token = draw(stream, x, settings);
      ASSERT_GE(token, 0);
      ASSERT_LT(token, 300);
      EXPECT_GT(x[static_cast<std::size_t>(token)], -kInfinity);
    }
  }
}

TEST(Sample, BitsDependOnNeitherThreadsNorNeighbours) {
  constexpr std::int64_t kRows = 48;
  constexpr std::int64_t kVocab = 3072;
  std::mt19937 random(6);
  HostTensor logits(DType::kF32, {kRows, kVocab}, 5);
  std::vector<Settings> rows;
  for (std::int64_t t = 0; t < kRows; ++t) {
    const std::vector<float> x =
        make_logits(random, kVocab, kShapes[static_cast<std::size_t>(t) % kShapes.size()]);
    for (std::int64_t i = 0; i < kVocab; ++i) {
      logits.set(t * kVocab + i, x[static_cast<std::size_t>(i)]);
    }
    rows.push_back(random_settings(random, kVocab));
  }
  const std::vector<std::byte> before = logits.content();
  CpuStream one(1);
  CpuStream three(3);

  const std::vector<std::int32_t> want = Draws(rows).run(one, logits.view());
  const std::vector<std::int32_t> threaded = Draws(rows).run(three, logits.view());
  std::vector<std::int32_t> alone;
  for (std::int64_t t = 0; t < kRows; ++t) {
    alone.push_back(Draws(rows).run(one, logits.view().rows(t, 1), t, 1)[0]);
  }

  EXPECT_EQ(threaded, want);
  EXPECT_EQ(alone, want);
  EXPECT_EQ(logits.content(), before);
}

TEST(Sample, ReadsNothingBeyondARow) {
  CpuStream stream(1);
  std::mt19937 random(7);
  for (const std::int64_t vocab : kAwkwardWidths) {
    std::vector<float> x = make_logits(random, static_cast<std::size_t>(vocab), Shape::kNormal);
    const GuardedCopy guarded(std::as_bytes(std::span(x)));
    const TensorView logits(guarded.data(), DType::kF32, {1, vocab});
    for (const Settings& settings : {Settings{0}, Settings{1}, Settings{1, 3}, Settings{1, 0, 0.5F},
                                     Settings{1, 0, 1, 0.1F}}) {
      EXPECT_EQ(Draws({settings}).run(stream, logits)[0], defined_token(x, settings));
    }
  }
}

TEST(Sample, TakesNoRowsAtAll) {
  CpuStream stream(1);
  ops::SampleArgs args;
  args.logits = TensorView(nullptr, DType::kF32, {0, 10});

  sample(stream, args);
}

}  // namespace
}  // namespace fathom::cpu
