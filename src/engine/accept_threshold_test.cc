// Acceptance thresholds below 1: what they change about answers, and what not.

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support/answer_bits.h"
#include "support/engine_runner.h"
#include "support/step_grammar.h"

namespace fathom::engine {
namespace {

using test_support::bits_of;
using test_support::EngineRunner;
using test_support::EngineRunnerOptions;
using test_support::StepCompiler;
using test_support::StepGrammar;

constexpr const char* kFolder = FATHOM_TEST_DATA "/micro-bf16";
constexpr std::int32_t kVocab = 512;
constexpr wire::TokenId kStop = 509;

struct Thresholds {
  float single = 1;
  float acc = 1;
};

class AcceptThresholds : public testing::TestWithParam<std::int32_t> {
 protected:
  EngineRunnerOptions engine_with(Thresholds thresholds) {
    EngineRunnerOptions options;
    options.pages = 32;
    options.engine.context_tokens = 1024;
    options.engine.max_running = 4;
    options.engine.chunk_tokens = 96;
    options.engine.end_tokens = {kStop};
    options.engine.compiler = &compiler_;
    options.engine.drafts = GetParam();
    options.engine.accept_threshold_single = thresholds.single;
    options.engine.accept_threshold_acc = thresholds.acc;
    return options;
  }

  static wire::GenerateRequest request(std::int32_t which) {
    wire::GenerateRequest request;
    for (std::int32_t i = 0; i < 20; ++i) request.prompt.push_back((i * 37 + which) % kVocab);
    request.sampling.temperature = 0.8F;
    request.sampling.seed = 11 + static_cast<std::uint64_t>(which);
    request.sampling.max_new_tokens = 80;
    request.sampling.ignore_eos = true;
    request.logprobs.wanted = true;
    request.logprobs.prompt_start = 20;
    return request;
  }

  std::vector<wire::TokenOutput> answers(Thresholds thresholds, float temperature = 0.8F) {
    EngineRunner engine(kFolder, engine_with(thresholds));
    std::vector<wire::RequestId> ids;
    for (std::int32_t which = 0; which < 4; ++which) {
      wire::GenerateRequest each = request(which);
      each.sampling.temperature = temperature;
      ids.push_back(engine.submit(each));
    }
    std::vector<wire::TokenOutput> all;
    all.reserve(ids.size());
    for (const wire::RequestId id : ids) all.push_back(engine.wait(id));
    return all;
  }

  static wire::DraftCounts counts(const std::vector<wire::TokenOutput>& answers) {
    wire::DraftCounts sum;
    for (const wire::TokenOutput& each : answers) {
      EXPECT_EQ(each.tokens.size(), 80U);
      sum.steps += each.drafts.steps;
      sum.drafts += each.drafts.drafts;
      sum.accepted += each.drafts.accepted;
    }
    return sum;
  }

  StepCompiler compiler_{kVocab, {kStop}};
};

TEST_P(AcceptThresholds, LowerOnesAcceptMoreDraftsOfSampledAnswers) {
  const wire::DraftCounts lossless = counts(answers({}));
  const wire::DraftCounts accumulated = counts(answers({1, 0.02F}));
  const wire::DraftCounts single = counts(answers({0.02F, 1}));
  const wire::DraftCounts all = counts(answers({0, 1}));
  EXPECT_GT(accumulated.accepted * lossless.drafts, 2 * lossless.accepted * accumulated.drafts);
  EXPECT_GT(single.accepted * lossless.drafts, lossless.accepted * single.drafts);
  EXPECT_LT(accumulated.steps, lossless.steps);
  EXPECT_EQ(all.accepted, all.drafts);
  for (const wire::DraftCounts& each : {lossless, accumulated, single, all}) {
    RecordProperty("accepted of " + std::to_string(each.drafts), std::to_string(each.accepted));
  }
}

TEST_P(AcceptThresholds, OfOneGiveTheBitsOfNoDraftsAndGreedyAnswersKeepThem) {
  EngineRunnerOptions options = engine_with({});
  options.engine.drafts = 0;
  EngineRunner plain(kFolder, options);
  const std::vector<wire::TokenOutput> lossless = answers({});
  const std::vector<wire::TokenOutput> greedy = answers({0, 0}, 0);
  for (std::int32_t which = 0; which < 4; ++which) {
    wire::GenerateRequest each = request(which);
    const auto at = static_cast<std::size_t>(which);
    EXPECT_EQ(bits_of(plain.wait(plain.submit(each)).logprobs), bits_of(lossless[at].logprobs));
    each.sampling.temperature = 0;
    EXPECT_EQ(bits_of(plain.wait(plain.submit(each)).logprobs), bits_of(greedy[at].logprobs));
  }
}

// A draft that a grammar or min_tokens forbids is never accepted.
TEST_P(AcceptThresholds, OfZeroStillKeepToWhatMayBeDrawn) {
  EngineRunner engine(kFolder, engine_with({0, 0}));
  for (std::int32_t which = 0; which < 3; ++which) {
    wire::GenerateRequest each = request(which);
    each.sampling.ignore_eos = false;
    each.constraint.kind = wire::ConstraintKind::kRegex;
    each.constraint.text = "40";
    const wire::TokenOutput output = engine.wait(engine.submit(each));
    ASSERT_TRUE(output.error.ok()) << output.error.message();
    ASSERT_EQ(output.tokens.size(), 41U);
    for (std::size_t i = 0; i < 40; ++i) {
      EXPECT_EQ(output.tokens[i] % StepGrammar::kClasses,
                static_cast<std::int32_t>(i) % StepGrammar::kClasses);
    }
    EXPECT_EQ(output.tokens.back(), kStop);
    EXPECT_LT(output.drafts.accepted, output.drafts.drafts);

    each = request(which);
    each.sampling.ignore_eos = false;
    each.sampling.logit_bias = {{kStop, 60}};
    each.sampling.min_new_tokens = 10;
    EXPECT_EQ(engine.wait(engine.submit(each)).tokens.size(), 11U);
  }
}

INSTANTIATE_TEST_SUITE_P(Drafts, AcceptThresholds, testing::Values(1, 3));

}  // namespace
}  // namespace fathom::engine
