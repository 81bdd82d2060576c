// What a request does to its logits: penalties, biases, min_tokens and constraints, each with and
// without a step launched ahead.

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/clock.h"
#include "support/answer_bits.h"
#include "support/engine_runner.h"
#include "support/model_runner.h"
#include "support/step_grammar.h"

namespace fathom::engine {
namespace {

using test_support::bits_of;
using test_support::EngineRunner;
using test_support::EngineRunnerOptions;
using test_support::StepCompiler;
using test_support::StepGrammar;
using wire::Finish;

constexpr const char* kFolder = FATHOM_TEST_DATA "/micro-bf16";
constexpr std::int32_t kVocab = 512;
constexpr wire::TokenId kStop = 509;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

class LateInputs : public testing::TestWithParam<bool> {
 protected:
  EngineRunnerOptions small_engine() {
    EngineRunnerOptions options;
    options.engine.overlap = GetParam();
    options.pages = 32;
    options.engine.context_tokens = 1024;
    options.engine.max_running = 4;
    options.engine.chunk_tokens = 48;
    options.engine.end_tokens = {kStop};
    options.engine.compiler = &compiler_;
    return options;
  }

  StepCompiler compiler_{kVocab, {kStop}};
};

wire::GenerateRequest request_for(std::int32_t prompt_tokens, std::int32_t max_new_tokens) {
  wire::GenerateRequest request;
  for (std::int32_t i = 0; i < prompt_tokens; ++i) {
    request.prompt.push_back((i * 37 + prompt_tokens) % kVocab);
  }
  request.sampling.temperature = 0;
  request.sampling.max_new_tokens = max_new_tokens;
  return request;
}

wire::GenerateRequest constrained(const std::string& text, std::int32_t max_new_tokens = 50) {
  wire::GenerateRequest request = request_for(20, max_new_tokens);
  request.sampling.temperature = 1;
  request.sampling.seed = 11;
  request.constraint.kind = wire::ConstraintKind::kRegex;
  request.constraint.text = text;
  return request;
}

std::vector<std::vector<float>> bare_logits(const std::vector<std::int32_t>& ids) {
  test_support::RunnerOptions options;
  options.arithmetic = config::Arithmetic::kDeployed;
  test_support::ModelRunner runner(kFolder, options);
  const test_support::ModelRunner::Piece piece{runner.add_sequence(), 0, ids};
  return runner.forward({&piece, 1}).logits;
}

double log_sum_exp(const std::vector<double>& x) {
  const double largest = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (const double each : x) sum += std::exp(each - largest);
  return largest + std::log(sum);
}

// The logits before each token of an answer, adjusted in double precision.
std::vector<std::vector<double>> adjusted_logits(const wire::GenerateRequest& request,
                                                 const std::vector<wire::TokenId>& answer) {
  std::vector<std::int32_t> ids = request.prompt;
  ids.insert(ids.end(), answer.begin(), answer.end());
  const auto logits = bare_logits(ids);
  const wire::SamplingParams& sampling = request.sampling;
  std::vector<std::vector<double>> adjusted;
  std::map<wire::TokenId, int> counts;
  for (std::size_t i = 0; i < answer.size(); ++i) {
    const std::vector<float>& row = logits[request.prompt.size() + i - 1];
    std::vector<double> x(row.begin(), row.end());
    for (const auto& [id, count] : counts) {
      double& logit = x[static_cast<std::size_t>(id)];
      logit -= double{sampling.frequency_penalty} * count + double{sampling.presence_penalty};
      logit = logit < 0 ? logit * double{sampling.repetition_penalty}
                        : logit / double{sampling.repetition_penalty};
    }
    if (static_cast<std::int32_t>(i) < sampling.min_new_tokens) {
      x[static_cast<std::size_t>(kStop)] = -kInfinity;
    }
    for (const wire::TokenBias& each : sampling.logit_bias) {
      x[static_cast<std::size_t>(each.id)] += double{each.bias};
    }
    adjusted.push_back(std::move(x));
    ++counts[answer[i]];
  }
  return adjusted;
}

// The answer is what is greatest by the plain reimplementation, and its log-probabilities are that
// one's.
void expect_greedy(const wire::GenerateRequest& request, const wire::TokenOutput& output) {
  ASSERT_TRUE(output.error.ok()) << output.error.message();
  ASSERT_EQ(output.logprobs.size(), output.tokens.size());
  const auto adjusted = adjusted_logits(request, output.tokens);
  for (std::size_t i = 0; i < output.tokens.size(); ++i) {
    const std::vector<double>& x = adjusted[i];
    const double largest = *std::max_element(x.begin(), x.end());
    const double own = x[static_cast<std::size_t>(output.tokens[i])];
    EXPECT_NEAR(own, largest, 1e-4) << i;
    EXPECT_NEAR(output.logprobs[i].logprob, own - log_sum_exp(x), 5e-5) << i;
  }
}

TEST_P(LateInputs, PenaltiesAndBiasesDecideAsAPlainReimplementationSays) {
  EngineRunner engine(kFolder, small_engine());
  wire::GenerateRequest request = request_for(70, 60);
  request.logprobs.wanted = true;
  request.logprobs.prompt_start = 70;
  const std::vector<wire::TokenId> plain = engine.wait(engine.submit(request)).tokens;
  struct Penalties {
    float frequency;
    float presence;
    float repetition;
  };
  for (const Penalties each : {Penalties{0.7F, 0, 1}, Penalties{0, 1.5F, 1}, Penalties{0, 0, 1.7F},
                               Penalties{-0.5F, -0.1F, 0.9F}, Penalties{0.3F, 0.2F, 1.3F}}) {
    SCOPED_TRACE(std::to_string(each.frequency) + " " + std::to_string(each.presence) + " " +
                 std::to_string(each.repetition));
    wire::GenerateRequest penalized = request;
    penalized.sampling.frequency_penalty = each.frequency;
    penalized.sampling.presence_penalty = each.presence;
    penalized.sampling.repetition_penalty = each.repetition;
    // The plain answer's first token is less likely, a token that it may repeat likelier.
    penalized.sampling.logit_bias = {{plain[0], -3}};
    const wire::TokenOutput output = engine.wait(engine.submit(penalized));

    expect_greedy(penalized, output);
    EXPECT_NE(output.tokens, plain);
  }
}

TEST_P(LateInputs, ABiasOfALotDrawsItsTokenAlways) {
  EngineRunner engine(kFolder, small_engine());
  wire::GenerateRequest request = request_for(10, 5);
  request.sampling.temperature = 1;
  request.sampling.logit_bias = {{77, 100}};
  EXPECT_EQ(engine.wait(engine.submit(request)).tokens, std::vector<wire::TokenId>(5, 77));
}

TEST_P(LateInputs, NothingEndsAnAnswerBeforeItsLeastLength) {
  EngineRunner engine(kFolder, small_engine());
  wire::GenerateRequest request = request_for(10, 30);
  request.sampling.logit_bias = {{kStop, 200}};
  EXPECT_EQ(engine.wait(engine.submit(request)).tokens, std::vector<wire::TokenId>{kStop});

  request.logprobs.wanted = true;
  request.logprobs.prompt_start = 10;
  request.logprobs.token_ids = {kStop};
  request.sampling.min_new_tokens = 12;
  const wire::TokenOutput longer = engine.wait(engine.submit(request));
  EXPECT_EQ(longer.finish, Finish::kStop);
  ASSERT_EQ(longer.tokens.size(), 13U);
  EXPECT_EQ(longer.logprobs[11].asked[0].logprob, -kInfinity);
  EXPECT_NEAR(longer.logprobs[12].logprob, 0, 1e-3);

  wire::GenerateRequest own = request_for(10, 30);
  own.sampling.stop_token_ids = {3, 400};
  own.sampling.logit_bias = {{3, 200}, {400, 100}};
  own.sampling.min_new_tokens = 4;
  const wire::TokenOutput stopped = engine.wait(engine.submit(own));
  EXPECT_EQ(stopped.tokens.size(), 5U);
  EXPECT_EQ(stopped.stop_token, 3);

  own.sampling.ignore_eos = true;  // nothing ends it, so nothing is forbidden
  EXPECT_EQ(engine.wait(engine.submit(own)).tokens, std::vector<wire::TokenId>(30, 3));
}

TEST_P(LateInputs, MoreNamedTokensThanThereIsRoomForAreRefused) {
  EngineRunner engine(kFolder, small_engine());
  wire::GenerateRequest request = request_for(10, 4);
  request.sampling.logit_bias = {{kVocab, 1}};
  const wire::TokenOutput outside = engine.wait(engine.submit(request));
  EXPECT_EQ(outside.error.code(), Code::kInvalidArgument);
  EXPECT_NE(outside.error.message().find("logit_bias: token id 512"), std::string::npos);

  request.sampling.logit_bias.clear();
  for (std::int32_t i = 0; i < 1025; ++i) request.sampling.logit_bias.push_back({i % kVocab, 1});
  const wire::TokenOutput many = engine.wait(engine.submit(request));
  EXPECT_EQ(many.error.code(), Code::kInvalidArgument);
  EXPECT_NE(many.error.message().find("1024"), std::string::npos) << many.error.message();
}

TEST_P(LateInputs, TokensThatAreUnusedAreNeverDrawnAndHaveNoProbability) {
  EngineRunnerOptions options = small_engine();
  options.engine.first_unused_token = 100;
  EngineRunner engine(kFolder, options);
  wire::GenerateRequest request = request_for(40, 60);
  request.sampling.temperature = 1.5F;
  request.logprobs.wanted = true;
  request.logprobs.top = 128;
  request.logprobs.token_ids = {99, 100};
  const std::vector<wire::TokenId> prompt = request.prompt;
  const wire::TokenOutput output = engine.wait(engine.submit(request));

  for (const wire::TokenId token : output.tokens) EXPECT_LT(token, 100);
  ASSERT_EQ(output.prompt_logprobs.size(), 40U);
  std::vector<wire::PositionLogprobs> told(output.prompt_logprobs.begin() + 1,
                                           output.prompt_logprobs.end());
  told.insert(told.end(), output.logprobs.begin(), output.logprobs.end());
  for (std::size_t i = 0; i < told.size(); ++i) {
    const wire::PositionLogprobs& each = told[i];
    EXPECT_EQ(each.id, i < 39 ? prompt[i + 1] : output.tokens[i - 39]);
    EXPECT_EQ(each.logprob == -kInfinity, each.id >= 100) << each.id;
    EXPECT_EQ(each.top.size(), 100U);
    EXPECT_GT(each.asked[0].logprob, -kInfinity);
    EXPECT_EQ(each.asked[1].logprob, -kInfinity);
    double sum = 0;
    for (const wire::TokenLogprob& one : each.top) sum += std::exp(double{one.logprob});
    EXPECT_NEAR(sum, 1, 1e-4);
  }
}

void expect_steps(const std::vector<wire::TokenId>& tokens, std::size_t begin, std::size_t count) {
  ASSERT_EQ(tokens.size(), begin + count + 1);
  for (std::size_t i = 0; i < count; ++i) {
    EXPECT_EQ(tokens[begin + i] % StepGrammar::kClasses,
              static_cast<std::int32_t>(i) % StepGrammar::kClasses);
  }
  EXPECT_EQ(tokens.back(), kStop);
}

TEST_P(LateInputs, AnAnswerKeepsToItsGrammarAndEndsWithIt) {
  EngineRunner engine(kFolder, small_engine());
  for (const bool ignore_eos : {false, true}) {
    for (const float temperature : {0.0F, 1.0F}) {
      wire::GenerateRequest request = constrained("23");
      request.sampling.ignore_eos = ignore_eos;
      request.sampling.temperature = temperature;
      request.sampling.frequency_penalty = 0.5F;
      request.sampling.logit_bias = {{3, 50}};
      request.logprobs.wanted = true;
      request.logprobs.prompt_start = 20;
      request.logprobs.token_ids = {1};
      const wire::TokenOutput output = engine.wait(engine.submit(request));

      ASSERT_TRUE(output.error.ok()) << output.error.message();
      EXPECT_EQ(output.finish, Finish::kStop);
      EXPECT_EQ(output.stop_token, kStop);
      expect_steps(output.tokens, 0, 23);
      EXPECT_EQ(output.logprobs[0].asked[0].logprob, -kInfinity);
      EXPECT_GT(output.logprobs[1].asked[0].logprob, -kInfinity);
      EXPECT_EQ(output.tokens[3], 3);  // by its bias
      EXPECT_NEAR(output.logprobs[23].logprob, 0, 1e-6);
    }
  }
}

TEST_P(LateInputs, AGrammarThatIsCutShortEndsByItsLength) {
  EngineRunner engine(kFolder, small_engine());
  const wire::TokenOutput output = engine.wait(engine.submit(constrained("23", 10)));
  EXPECT_EQ(output.finish, Finish::kLength);
  EXPECT_EQ(output.tokens.size(), 10U);
}

TEST_P(LateInputs, AGrammarSleepsUntilItsToken) {
  EngineRunner engine(kFolder, small_engine());
  const std::vector<wire::TokenId> free = engine
                                              .wait(engine.submit([] {
                                                wire::GenerateRequest request = constrained("4");
                                                request.constraint = {};
                                                return request;
                                              }()))
                                              .tokens;
  wire::GenerateRequest request = constrained("4");
  request.constraint.begins_after = free[9];
  const auto first = std::find(free.begin(), free.end(), free[9]);
  const auto asleep = static_cast<std::size_t>(first - free.begin()) + 1;
  const wire::TokenOutput output = engine.wait(engine.submit(request));

  EXPECT_EQ(output.finish, Finish::kStop);
  expect_steps(output.tokens, asleep, 4);
  EXPECT_TRUE(std::equal(free.begin(), first + 1, output.tokens.begin()));
}

TEST_P(LateInputs, ARetractionForgetsNeitherCountsNorTheGrammar) {
  EngineRunnerOptions options = small_engine();
  options.pages = 6;
  options.engine.reserve_ratio = 0;
  const auto request = [](std::int32_t i) {
    wire::GenerateRequest made = constrained(std::to_string(150 + 7 * i), 200);
    made.prompt = request_for(60 + i, 1).prompt;
    made.sampling.frequency_penalty = 0.2F;
    made.sampling.repetition_penalty = 1.1F;
    made.logprobs.wanted = true;
    made.logprobs.prompt_start = 60 + i;
    return made;
  };
  EngineRunner alone(kFolder, options);
  std::vector<wire::TokenOutput> expected;
  expected.reserve(4);
  for (std::int32_t i = 0; i < 4; ++i) expected.push_back(alone.wait(alone.submit(request(i))));

  EngineRunner engine(kFolder, options);
  std::vector<wire::RequestId> ids;
  ids.reserve(4);
  for (std::int32_t i = 0; i < 4; ++i) ids.push_back(engine.submit(request(i)));
  std::int32_t retractions = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    const wire::TokenOutput output = engine.wait(ids[i]);
    expect_steps(output.tokens, 0, 150 + 7 * i);
    EXPECT_EQ(output.tokens, expected[i].tokens) << i;
    EXPECT_EQ(bits_of(output.logprobs), bits_of(expected[i].logprobs)) << i;
    retractions += output.retractions;
  }
  EXPECT_GT(retractions, 0);
}

TEST_P(LateInputs, AGrammarsEndComesBeforeALeastLength) {
  EngineRunner engine(kFolder, small_engine());
  wire::GenerateRequest request = constrained("3");
  request.sampling.min_new_tokens = 10;
  const wire::TokenOutput output = engine.wait(engine.submit(request));
  EXPECT_EQ(output.finish, Finish::kStop);
  expect_steps(output.tokens, 0, 3);
}

TEST_P(LateInputs, AGrammarThatIsTooSlowEndsItsAnswerAlone) {
  EngineRunner engine(kFolder, small_engine());
  const wire::RequestId slow = engine.submit(constrained("~30"));
  const wire::RequestId other = engine.submit(constrained("30"));
  const wire::TokenOutput output = engine.wait(slow);
  EXPECT_EQ(output.finish, Finish::kAbort);
  EXPECT_EQ(output.error.code(), Code::kInvalidArgument);
  EXPECT_EQ(output.tokens.size(), 2U);
  EXPECT_EQ(engine.wait(other).finish, Finish::kStop);
  EXPECT_EQ(engine.load().pages_used, 0);
}

TEST_P(LateInputs, ATokenThatTheGrammarDoesNotAcceptIsABug) {
  EngineRunner engine(kFolder, small_engine());
  const wire::TokenOutput output = engine.wait(engine.submit(constrained("!1")));
  EXPECT_EQ(output.finish, Finish::kAbort);
  EXPECT_EQ(output.error.code(), Code::kInternal);
  EXPECT_EQ(engine.load().pages_used, 0);
}

TEST_P(LateInputs, AWrongGrammarIsTheRequestsError) {
  EngineRunner engine(kFolder, small_engine());
  const wire::TokenOutput output = engine.wait(engine.submit(constrained("one")));
  EXPECT_EQ(output.finish, Finish::kAbort);
  EXPECT_EQ(output.error.code(), Code::kInvalidArgument);
  EXPECT_NE(output.error.message().find("\"one\""), std::string::npos);
}

TEST_P(LateInputs, WithoutACompilerAConstraintIsRefused) {
  EngineRunnerOptions options = small_engine();
  options.engine.compiler = nullptr;
  EngineRunner engine(kFolder, options);
  const wire::TokenOutput output = engine.wait(engine.submit(constrained("1")));
  EXPECT_EQ(output.error.code(), Code::kInvalidArgument);
}

TEST_P(LateInputs, ACompilationIsWaitedForWithoutHoldingAnythingUp) {
  EngineRunner engine(kFolder, small_engine());
  compiler_.hold();
  const wire::RequestId waiting = engine.submit(constrained("5"));
  const wire::RequestId aborted = engine.submit(constrained("5"));
  wire::GenerateRequest late = constrained("5");
  late.deadline_ns = now_ns() + 1'000'000;
  const wire::RequestId expired = engine.submit(late);
  EXPECT_EQ(engine.wait(engine.submit(request_for(10, 4))).generated_tokens, 4);

  EXPECT_EQ(engine.wait(expired).error.code(), Code::kDeadlineExceeded);
  engine.abort(aborted);
  EXPECT_EQ(engine.wait(aborted).error.code(), Code::kCancelled);
  EXPECT_EQ(engine.load().waiting_for_grammar, 1);
  EXPECT_EQ(engine.load().waiting, 0);
  compiler_.release();
  expect_steps(engine.wait(waiting).tokens, 0, 5);
  EXPECT_EQ(engine.load().waiting_for_grammar, 0);
}

TEST_P(LateInputs, ACompilationMayEndAfterTheEngine) {
  compiler_.hold();
  {
    EngineRunner engine(kFolder, small_engine());
    const wire::RequestId waiting = engine.submit(constrained("5"));
    EXPECT_TRUE(engine.stop().ok());
    EXPECT_EQ(engine.wait(waiting).error.code(), Code::kUnavailable);
  }
  compiler_.release();
}

INSTANTIATE_TEST_SUITE_P(Schedules, LateInputs, testing::Bool(), [](const auto& each) {
  return each.param ? "Overlapping" : "StepByStep";
});

}  // namespace
}  // namespace fathom::engine
