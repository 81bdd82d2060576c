#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support/engine_runner.h"
#include "support/model_runner.h"

// Tokens that are drawn with speculation have the model's own distribution: a chi-square test of
// the first three tokens of an answer together. The first has no draft; the second is what a draft
// is compared with; the third comes from the draft's row when the draft was right, else from a row
// of its own.

namespace fathom::oracle {
namespace {

using test_support::EngineRunner;
using test_support::EngineRunnerOptions;
using test_support::ModelRunner;

struct Case {
  const char* name;
  std::int32_t drafts;
  float temperature;
  float top_p;
  std::int32_t top_k;
  int most_draws;
};

constexpr const char* kFolder = FATHOM_TEST_DATA "/micro-bf16";
// Tokens that can be drawn, few enough that all triples occur.
constexpr std::int32_t kDrawable = 8;
constexpr std::size_t kTriples = std::size_t{kDrawable} * kDrawable * kDrawable;

std::vector<wire::TokenId> the_prompt() {
  std::vector<wire::TokenId> prompt(66);
  for (std::size_t i = 0; i < prompt.size(); ++i) {
    prompt[i] = static_cast<wire::TokenId>((i * 71 + 5) % 512);
  }
  return prompt;
}

// What a request with `sampling` draws from, in double precision.
std::vector<double> distribution(const std::vector<float>& logits, const Case& sampling) {
  std::vector<double> weights;
  weights.reserve(kDrawable);
  for (std::int32_t token = 0; token < kDrawable; ++token) {
    weights.push_back(
        std::exp(double{logits[static_cast<std::size_t>(token)]} / double{sampling.temperature}));
  }
  const double all = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<std::size_t> ranked(weights.size());
  std::iota(ranked.begin(), ranked.end(), 0);
  std::stable_sort(ranked.begin(), ranked.end(),
                   [&](std::size_t a, std::size_t b) { return weights[a] > weights[b]; });
  double before = 0;
  double kept = 0;
  for (std::size_t rank = 0; rank < ranked.size(); ++rank) {
    double& weight = weights[ranked[rank]];
    const double probability = weight / all;
    const bool in_top_k = sampling.top_k == 0 || rank < static_cast<std::size_t>(sampling.top_k);
    if (!in_top_k || before > double{sampling.top_p}) weight = 0;
    kept += weight;
    before += probability;
  }
  for (double& weight : weights) weight /= kept;
  return weights;
}

// Probabilities of all triples, by the bare model.
std::vector<double> expected_triples(const Case& sampling) {
  test_support::RunnerOptions options;
  options.arithmetic = config::Arithmetic::kDeployed;
  options.max_positions = 128;
  options.pages = 2 + 2 * kDrawable * kDrawable;
  ModelRunner runner(kFolder, options);
  const std::vector<wire::TokenId> prompt = the_prompt();
  const int base = runner.add_sequence();
  const std::vector<wire::TokenId> page(prompt.begin(), prompt.begin() + 64);
  runner.prefill(base, page);
  std::vector<double> triples;
  for (std::int32_t first = 0; first < kDrawable; ++first) {
    for (std::int32_t second = 0; second < kDrawable; ++second) {
      const int sequence = runner.fork_sequence(base, 64);
      const ModelRunner::Piece piece{sequence, 64, {prompt[64], prompt[65], first, second}};
      const std::vector<std::vector<float>> logits = runner.forward({&piece, 1}).logits;
      runner.drop_sequence(sequence);
      const double pair = distribution(logits[1], sampling)[static_cast<std::size_t>(first)] *
                          distribution(logits[2], sampling)[static_cast<std::size_t>(second)];
      for (const double third : distribution(logits[3], sampling)) triples.push_back(pair * third);
    }
  }
  return triples;
}

// How far a chi-square statistic is from what it should be, in standard deviations of a normal
// number (Wilson and Hilferty 1931).
double deviations(double chi_square, double freedom) {
  const double variance = 2 / (9 * freedom);
  return (std::cbrt(chi_square / freedom) - (1 - variance)) / std::sqrt(variance);
}

class SpeculationDistribution : public testing::TestWithParam<Case> {};

TEST_P(SpeculationDistribution, IsTheModels) {
  const bool all = std::getenv("FATHOM_TEST_ALL") != nullptr;  // NOLINT(concurrency-mt-unsafe)
  const int draws = all ? GetParam().most_draws : 2000;
  EngineRunnerOptions options;
  options.pages = 512;
  options.max_unfinished = static_cast<std::size_t>(draws);
  options.engine.context_tokens = 128;
  options.engine.max_running = 64;
  options.engine.first_unused_token = kDrawable;
  options.engine.drafts = GetParam().drafts;
  EngineRunner engine(kFolder, options);
  wire::GenerateRequest request;
  request.prompt = the_prompt();
  request.sampling.max_new_tokens = 3;
  request.sampling.temperature = GetParam().temperature;
  request.sampling.top_p = GetParam().top_p;
  request.sampling.top_k = GetParam().top_k;
  std::vector<wire::RequestId> ids;
  ids.reserve(static_cast<std::size_t>(draws));
  for (int seed = 0; seed < draws; ++seed) {
    request.sampling.seed = static_cast<std::uint64_t>(seed);
    ids.push_back(engine.submit(request));
  }
  std::vector<int> seen(kTriples);
  wire::DraftCounts counts;
  for (const wire::RequestId id : ids) {
    const wire::TokenOutput output = engine.wait(id);
    ASSERT_EQ(output.tokens.size(), 3U);
    std::size_t triple = 0;
    for (const wire::TokenId token : output.tokens) {
      ASSERT_TRUE(token >= 0 && token < kDrawable);
      triple = triple * kDrawable + static_cast<std::size_t>(token);
    }
    ++seen[triple];
    counts.drafts += output.drafts.drafts;
    counts.accepted += output.drafts.accepted;
  }

  // Triples that are expected less than five times count together.
  const std::vector<double> probabilities = expected_triples(GetParam());
  double chi_square = 0;
  int classes = 0;
  double rare_expected = 0;
  int rare_seen = 0;
  const auto add = [&](double expected, int count) {
    chi_square += (count - expected) * (count - expected) / expected;
    ++classes;
  };
  for (std::size_t triple = 0; triple < kTriples; ++triple) {
    const double expected = probabilities[triple] * draws;
    if (expected == 0) {
      EXPECT_EQ(seen[triple], 0) << "a filter dropped triple " << triple;
    } else if (expected < 5) {
      rare_expected += expected;
      rare_seen += seen[triple];
    } else {
      add(expected, seen[triple]);
    }
  }
  if (rare_expected > 0) add(rare_expected, rare_seen);
  RecordProperty("classes", classes);
  RecordProperty("chi_square", std::to_string(chi_square));
  RecordProperty("accepted", std::to_string(counts.accepted));
  EXPECT_GT(classes, 20);
  // The seeds are the same in every run: so is this.
  EXPECT_LT(std::abs(deviations(chi_square, classes - 1)), 3.5) << chi_square << " of " << classes;
  EXPECT_EQ(counts.drafts, draws);  // one each: the third token is the last
  EXPECT_GT(counts.accepted, draws / 20);
  EXPECT_LT(counts.accepted, draws * 19 / 20);
}

INSTANTIATE_TEST_SUITE_P(Filters,
                         SpeculationDistribution,
                         testing::Values(Case{"All", 1, 1, 1, 0, 50000},
                                         Case{"TopPTopK", 1, 1, 0.85F, 6, 10000},
                                         Case{"Chains", 3, 0.8F, 1, 0, 10000}),
                         [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace fathom::oracle
