#include "engine/engine.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/clock.h"
#include "support/engine_runner.h"
#include "support/model_runner.h"

namespace fathom::engine {
namespace {

using test_support::EngineRunner;
using test_support::EngineRunnerOptions;
using wire::Finish;

constexpr const char* kFolder = FATHOM_TEST_DATA "/micro-bf16";

// Every test runs with and without a step launched ahead.
class EngineTest : public testing::TestWithParam<bool> {
 protected:
  static EngineRunnerOptions small_engine(std::int32_t pages = 32, std::int32_t max_running = 4);
};

EngineRunnerOptions EngineTest::small_engine(std::int32_t pages, std::int32_t max_running) {
  EngineRunnerOptions options;
  options.engine.overlap = GetParam();
  options.pages = pages;
  options.engine.context_tokens = 1024;
  options.engine.max_running = max_running;
  options.engine.chunk_tokens = 48;
  return options;
}

wire::GenerateRequest request_for(std::int32_t prompt_tokens, std::int32_t max_new_tokens) {
  wire::GenerateRequest request;
  for (std::int32_t i = 0; i < prompt_tokens; ++i) {
    request.prompt.push_back((i * 37 + prompt_tokens) % 512);
  }
  request.sampling.temperature = 0;
  request.sampling.max_new_tokens = max_new_tokens;
  return request;
}

// Logits of every position of `ids`, in one step of the bare model.
std::vector<std::vector<float>> bare_logits(const std::vector<std::int32_t>& ids) {
  test_support::RunnerOptions options;
  options.arithmetic = config::Arithmetic::kDeployed;
  test_support::ModelRunner runner(kFolder, options);
  const test_support::ModelRunner::Piece piece{runner.add_sequence(), 0, ids};
  return runner.forward({&piece, 1}).logits;
}

double log_softmax(const std::vector<float>& logits, std::int32_t id) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  return static_cast<double>(logits[static_cast<std::size_t>(id)]) - largest - std::log(sum);
}

TEST_P(EngineTest, GreedyAnswersAreTheModelsFirstChoices) {
  EngineRunner engine(kFolder, small_engine());
  wire::GenerateRequest request = request_for(100, 20);
  request.logprobs.wanted = true;
  request.logprobs.prompt_start = 0;
  request.logprobs.top = 3;
  request.logprobs.token_ids = {7, 300};
  const std::vector<std::int32_t> prompt = request.prompt;
  const wire::TokenOutput output = engine.wait(engine.submit(std::move(request)));

  EXPECT_EQ(output.finish, Finish::kLength);
  EXPECT_EQ(output.prompt_tokens, 100);
  EXPECT_EQ(output.generated_tokens, 20);
  ASSERT_EQ(output.tokens.size(), 20U);
  ASSERT_EQ(output.logprobs.size(), 20U);
  ASSERT_EQ(output.prompt_logprobs.size(), 100U);
  std::vector<std::int32_t> ids = prompt;
  ids.insert(ids.end(), output.tokens.begin(), output.tokens.end());
  const auto logits = bare_logits(ids);
  EXPECT_TRUE(std::isnan(output.prompt_logprobs[0].logprob));
  for (std::size_t position = 1; position < ids.size(); ++position) {
    const std::vector<float>& row = logits[position - 1];
    const wire::PositionLogprobs& told =
        position < 100 ? output.prompt_logprobs[position] : output.logprobs[position - 100];
    ASSERT_EQ(told.id, ids[position]) << position;
    EXPECT_NEAR(told.logprob, log_softmax(row, told.id), 2e-5) << position;
    ASSERT_EQ(told.top.size(), 3U);
    const auto best =
        static_cast<std::int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
    EXPECT_EQ(told.top[0].id, best);
    EXPECT_GE(told.top[0].logprob, told.top[2].logprob);
    ASSERT_EQ(told.asked.size(), 2U);
    EXPECT_EQ(told.asked[1].id, 300);
    EXPECT_NEAR(told.asked[1].logprob, log_softmax(row, 300), 2e-5);
    if (position >= 100) {
      EXPECT_EQ(told.id, best) << position;
    }
  }
}

TEST_P(EngineTest, PromptLogprobsBeginWhereTheyAreWanted) {
  EngineRunner engine(kFolder, small_engine());
  wire::GenerateRequest all = request_for(130, 0);  // three chunks, no answer
  all.logprobs.wanted = true;
  wire::GenerateRequest late = all;
  late.logprobs.prompt_start = 77;
  wire::GenerateRequest answer = request_for(130, 2);
  answer.logprobs.wanted = true;
  answer.logprobs.prompt_start = 130;
  const wire::TokenOutput of_all = engine.wait(engine.submit(all));
  const wire::TokenOutput of_late = engine.wait(engine.submit(late));
  const wire::TokenOutput of_answer = engine.wait(engine.submit(answer));

  EXPECT_EQ(of_all.finish, Finish::kLength);
  EXPECT_TRUE(of_all.tokens.empty());
  EXPECT_EQ(of_all.generated_tokens, 0);
  ASSERT_EQ(of_all.prompt_logprobs.size(), 130U);
  ASSERT_EQ(of_late.prompt_logprobs.size(), 53U);
  for (std::size_t i = 0; i < 53; ++i) {
    EXPECT_EQ(of_late.prompt_logprobs[i].id, all.prompt[77 + i]);
    EXPECT_EQ(of_late.prompt_logprobs[i].logprob, of_all.prompt_logprobs[77 + i].logprob);
  }
  EXPECT_TRUE(of_answer.prompt_logprobs.empty());
  EXPECT_EQ(of_answer.logprobs.size(), 2U);
}

TEST_P(EngineTest, StreamsTellTheFirstTokenAtOnceThenEveryInterval) {
  EngineRunner engine(kFolder, small_engine());
  wire::GenerateRequest request = request_for(10, 24);
  const wire::TokenOutput whole = engine.wait(engine.submit(request));
  const wire::RequestId quiet = engine.submit(request);
  EXPECT_EQ(engine.wait(quiet).tokens, whole.tokens);
  EXPECT_EQ(engine.outputs(quiet), 1);

  request.stream = true;
  request.stream_interval = 10;
  const wire::RequestId streamed = engine.submit(request);
  EXPECT_EQ(engine.wait(streamed).tokens, whole.tokens);
  // The first token, tokens 2 to 11, 12 to 21, the rest.
  EXPECT_EQ(engine.outputs(streamed), 4);
}

TEST_P(EngineTest, StopsAtEndsOfSequenceAndAtTheRequestsOwn) {
  EngineRunnerOptions options = small_engine();
  const wire::GenerateRequest request = request_for(30, 20);
  std::vector<wire::TokenId> tokens;
  {
    EngineRunner engine(kFolder, options);
    tokens = engine.wait(engine.submit(request)).tokens;
  }
  // The first token that did not occur before it, well inside the answer.
  std::size_t at = 5;
  while (std::find(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(at), tokens[at]) !=
         tokens.begin() + static_cast<std::ptrdiff_t>(at)) {
    ++at;
    ASSERT_LT(at, tokens.size());
  }
  const auto expect_stopped = [&](const wire::TokenOutput& output) {
    EXPECT_EQ(output.finish, Finish::kStop);
    EXPECT_EQ(output.stop_token, tokens[at]);
    EXPECT_EQ(output.tokens.size(), at + 1);
  };
  {
    EngineRunner engine(kFolder, options);
    wire::GenerateRequest own = request;
    own.sampling.stop_token_ids = {tokens[at]};
    expect_stopped(engine.wait(engine.submit(own)));
    own.sampling.ignore_eos = true;
    EXPECT_EQ(engine.wait(engine.submit(own)).finish, Finish::kLength);
  }
  options.engine.end_tokens = {tokens[at]};
  EngineRunner engine(kFolder, options);
  expect_stopped(engine.wait(engine.submit(request)));
  wire::GenerateRequest ignoring = request;
  ignoring.sampling.ignore_eos = true;
  EXPECT_EQ(engine.wait(engine.submit(ignoring)).tokens, tokens);
}

TEST_P(EngineTest, AnAnswerIsShortenedToTheContextAndToThePool) {
  EngineRunner context(kFolder, small_engine());
  EXPECT_EQ(context.wait(context.submit(request_for(900, 4000))).generated_tokens,
            1024 - 1 - 900 - 1);
  EngineRunner pool(kFolder, small_engine(/*pages=*/3));
  EXPECT_EQ(pool.wait(pool.submit(request_for(100, 4000))).generated_tokens, 192 - 1 - 100 - 1);
  const wire::TokenOutput refused = pool.wait(pool.submit(request_for(187, 4)));
  EXPECT_EQ(refused.finish, Finish::kAbort);
  EXPECT_EQ(refused.error.code(), Code::kInvalidArgument);
  EXPECT_NE(refused.error.message().find("allow 186"), std::string::npos)
      << refused.error.message();
  EXPECT_EQ(pool.wait(pool.submit(request_for(186, 4))).generated_tokens, 4);
}

TEST_P(EngineTest, ATokenOutsideTheVocabularyIsRefusedAlone) {
  EngineRunner engine(kFolder, small_engine());
  wire::GenerateRequest wrong = request_for(10, 4);
  wrong.prompt[3] = 512;
  const wire::RequestId good = engine.submit(request_for(10, 4));
  const wire::TokenOutput output = engine.wait(engine.submit(wrong));
  EXPECT_EQ(output.finish, Finish::kAbort);
  EXPECT_NE(output.error.message().find("512"), std::string::npos);
  EXPECT_EQ(engine.wait(good).generated_tokens, 4);
}

TEST_P(EngineTest, MoreLogprobsThanThereIsRoomForAreRefusedAlone) {
  EngineRunner engine(kFolder, small_engine());
  wire::GenerateRequest most = request_for(10, 4);
  most.logprobs.wanted = true;
  most.logprobs.top = wire::kMaxTopLogprobs;
  most.logprobs.token_ids.assign(wire::kMaxAskedLogprobs, 7);
  wire::GenerateRequest more = most;
  more.logprobs.top = wire::kMaxTopLogprobs + 1;
  const wire::RequestId good = engine.submit(most);
  const wire::TokenOutput refused = engine.wait(engine.submit(more));
  EXPECT_EQ(refused.finish, Finish::kAbort);
  EXPECT_EQ(refused.error.code(), Code::kInvalidArgument);
  const wire::TokenOutput output = engine.wait(good);
  ASSERT_EQ(output.logprobs.size(), 4U);
  for (const wire::PositionLogprobs& told : output.logprobs) {
    EXPECT_EQ(told.top.size(), 128U);
    EXPECT_EQ(told.asked.size(), 128U);
  }
}

TEST_P(EngineTest, AnAbortFreesEverythingAndTellsWhatWasMade) {
  EngineRunner engine(kFolder, small_engine());
  wire::GenerateRequest request = request_for(100, 900);
  request.stream = true;
  request.stream_interval = 1;
  const wire::RequestId id = engine.submit(request);
  engine.wait_for_tokens(id, 3);
  EXPECT_EQ(engine.load().running, 1);
  EXPECT_GE(engine.load().pages_used, 2);
  engine.abort(id);
  const wire::TokenOutput output = engine.wait(id);
  EXPECT_EQ(output.finish, Finish::kAbort);
  EXPECT_EQ(output.error.code(), Code::kCancelled);
  EXPECT_GE(output.tokens.size(), 3U);
  EXPECT_EQ(static_cast<std::int32_t>(output.tokens.size()), output.generated_tokens);
  EXPECT_EQ(engine.load().running, 0);
  EXPECT_EQ(engine.load().pages_used, 0);
}

TEST_P(EngineTest, APassedDeadlineEndsARequest) {
  EngineRunner engine(kFolder, small_engine());
  wire::GenerateRequest request = request_for(100, 900);
  request.deadline_ns = now_ns() - 1;
  EXPECT_EQ(engine.wait(engine.submit(request)).error.code(), Code::kDeadlineExceeded);
  request.deadline_ns = now_ns() + std::int64_t{3600} * 1'000'000'000;
  request.sampling.max_new_tokens = 2;
  EXPECT_EQ(engine.wait(engine.submit(request)).finish, Finish::kLength);
}

TEST_P(EngineTest, AFullPoolRetractsAndFinishesEveryone) {
  EngineRunnerOptions options = small_engine(/*pages=*/6);
  options.engine.reserve_ratio = 0;
  EngineRunner alone(kFolder, options);
  std::vector<std::vector<wire::TokenId>> expected;
  expected.reserve(4);
  for (std::int32_t i = 0; i < 4; ++i) {
    expected.push_back(alone.wait(alone.submit(request_for(60 + i, 180))).tokens);
  }
  for (const sched::Policy policy :
       {sched::Policy::kFcfs, sched::Policy::kLongestOutput, sched::Policy::kRandom}) {
    options.engine.order.policy = policy;
    EngineRunner engine(kFolder, options);
    std::vector<wire::RequestId> ids;
    ids.reserve(4);
    for (std::int32_t i = 0; i < 4; ++i) ids.push_back(engine.submit(request_for(60 + i, 180)));
    std::int32_t retractions = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const wire::TokenOutput output = engine.wait(ids[i]);
      EXPECT_EQ(output.tokens, expected[i]) << i;
      retractions += output.retractions;
    }
    EXPECT_GT(retractions, 0);
    EXPECT_EQ(engine.load().pages_used, 0);
    EXPECT_EQ(engine.load().pages_leaked, 0);
    // No prompt fills a page: what was found is what retracted ones left.
    EXPECT_GT(engine.load().totals.cached_tokens, 0);
    EXPECT_EQ(engine.load().totals.retracted_requests, retractions);
    EXPECT_GE(engine.load().totals.retracted_prompt_tokens, 60 * retractions);
    EXPECT_GT(engine.load().totals.retracted_answer_tokens, 0);
  }
}

TEST_P(EngineTest, OfThoseThatWaitTheOneThatTheOrderSaysIsNext) {
  struct Case {
    sched::Policy policy;
    bool by_priority;
  };
  for (const Case each :
       {Case{sched::Policy::kFcfs, true}, Case{sched::Policy::kLongestOutput, false}}) {
    EngineRunnerOptions options = small_engine(32, /*max_running=*/1);
    options.engine.order.policy = each.policy;
    options.engine.order.by_priority = each.by_priority;
    EngineRunner engine(kFolder, options);
    wire::GenerateRequest blocks = request_for(100, 900);
    blocks.stream = true;
    const wire::RequestId running = engine.submit(blocks);
    engine.wait_for_tokens(running, 1);
    wire::GenerateRequest later = request_for(30, 20);
    wire::GenerateRequest sooner = request_for(30, each.by_priority ? 20 : 21);
    sooner.priority = 1;
    const wire::RequestId second = engine.submit(later);
    const wire::RequestId first = engine.submit(sooner);
    engine.abort(running);

    EXPECT_EQ(engine.wait(second).generated_tokens, 20);
    EXPECT_EQ(engine.outputs(first), 1);
  }
}

TEST_P(EngineTest, ReportsTheStepsThatItsTotalsCount) {
  EngineRunnerOptions options = small_engine(/*pages=*/6);
  options.engine.reserve_ratio = 0;
  std::vector<StepReport> reports;  // of the engine's thread alone until stop()
  options.engine.account.report_interval = 10;
  options.engine.account.on_report = [&reports](const StepReport& report) {
    reports.push_back(report);
  };
  EngineRunner engine(kFolder, options);
  std::vector<wire::RequestId> ids;
  ids.reserve(4);
  for (std::int32_t i = 0; i < 4; ++i) ids.push_back(engine.submit(request_for(60 + i, 180)));
  for (const wire::RequestId id : ids) {
    const wire::RequestTimes times = engine.wait(id).times;
    EXPECT_EQ(times.queued_ns, 0);  // it has no constraint
    EXPECT_GE(times.started_ns, 0);
    EXPECT_GT(times.first_token_ns, times.started_ns);
    EXPECT_GT(times.told_ns, times.first_token_ns);
  }
  const wire::EngineLoad load = engine.load();
  EXPECT_TRUE(engine.stop().ok());

  std::int64_t prefill = 0;
  std::int64_t retracted = 0;
  std::int64_t decode_lines = 0;
  for (const StepReport& report : reports) {
    prefill += report.prefill_tokens;
    retracted += report.retracted;
    decode_lines += report.tells_decode ? 1 : 0;
    EXPECT_EQ(report.pages, 6);
    EXPECT_LE(report.pages_used, 6);
    EXPECT_LE(report.running + report.waiting, 4);
    EXPECT_GE(report.running, report.prefill_requests);
    EXPECT_FALSE(report.graph);
    if (report.retracted > 0) {
      EXPECT_GE(report.pages_gained, report.retracted);
      EXPECT_GE(report.ratio_after, report.ratio_before);
    }
  }
  EXPECT_GT(retracted, 0);
  EXPECT_EQ(prefill, load.totals.prefill_tokens);
  EXPECT_EQ(retracted, load.totals.retracted_requests);
  EXPECT_EQ(decode_lines, load.totals.plain_passes / 10);
  EXPECT_EQ(load.totals.graph_passes, 0);
  EXPECT_EQ(load.generated_tokens, 4 * 180);
  EXPECT_EQ(load.slots, 4);
}

TEST_P(EngineTest, WhatIsUnfinishedAtTheEndIsToldSo) {
  EngineRunner engine(kFolder, small_engine(32, /*max_running=*/1));
  wire::GenerateRequest request = request_for(100, 900);
  request.stream = true;
  const wire::RequestId running = engine.submit(request);
  engine.wait_for_tokens(running, 1);
  const wire::RequestId waiting = engine.submit(request);
  EXPECT_TRUE(engine.stop().ok());
  for (const wire::RequestId id : {running, waiting}) {
    const wire::TokenOutput output = engine.wait(id);
    EXPECT_EQ(output.finish, Finish::kAbort);
    EXPECT_EQ(output.error.code(), Code::kUnavailable);
  }
  EXPECT_EQ(engine.try_submit(request).code(), Code::kUnavailable);
}

TEST_P(EngineTest, UnreadableWeightsEndTheEngineAndEveryRequest) {
  EngineRunnerOptions options = small_engine();
  int steps = 0;  // of the engine's thread alone until stop()
  options.engine.weights_health = [&steps] {
    return ++steps < 5 ? Status() : Status(Code::kInternal, "model.safetensors: gone");
  };
  EngineRunner engine(kFolder, options);
  const wire::TokenOutput output = engine.wait(engine.submit(request_for(20, 100)));
  EXPECT_EQ(output.finish, Finish::kAbort);
  EXPECT_EQ(output.error.code(), Code::kInternal);
  EXPECT_EQ(output.generated_tokens, 4);
  EXPECT_EQ(engine.stop().code(), Code::kInternal);
}

TEST_P(EngineTest, AContextWithoutRoomIsRefused) {
  EngineOptions options;
  options.context_tokens = 6;
  EXPECT_LE(max_request_tokens(options, 1), 5);
  EXPECT_EQ(max_request_tokens(options, 100), 5);
  options.context_tokens = 1000;
  EXPECT_EQ(max_request_tokens(options, 2), 127);
}

INSTANTIATE_TEST_SUITE_P(Schedules, EngineTest, testing::Bool(), [](const auto& each) {
  return each.param ? "Overlapping" : "StepByStep";
});

}  // namespace
}  // namespace fathom::engine
