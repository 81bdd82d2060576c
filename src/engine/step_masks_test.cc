// When the masks of a step are filled, and by whom.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/clock.h"
#include "support/answer_bits.h"
#include "support/engine_runner.h"
#include "support/step_grammar.h"

namespace fathom::engine {
namespace {

using test_support::bits_of;
using test_support::EngineRunner;
using test_support::EngineRunnerOptions;
using test_support::StepCompiler;

constexpr const char* kFolder = FATHOM_TEST_DATA "/micro-bf16";
constexpr std::int32_t kVocab = 512;
constexpr wire::TokenId kStop = 509;

class StepMasks : public testing::TestWithParam<bool> {
 protected:
  EngineRunnerOptions engine_with(int mask_threads) {
    EngineRunnerOptions options;
    options.engine.overlap = GetParam();
    options.pages = 32;
    options.engine.context_tokens = 1024;
    options.engine.max_running = 4;
    options.engine.chunk_tokens = 96;
    options.engine.end_tokens = {kStop};
    options.engine.compiler = &compiler_;
    options.engine.mask_threads = mask_threads;
    return options;
  }

  StepCompiler compiler_{kVocab, {kStop}};
};

wire::GenerateRequest constrained(std::int32_t length) {
  wire::GenerateRequest request;
  for (std::int32_t i = 0; i < 20; ++i) request.prompt.push_back((i * 37 + length) % kVocab);
  request.sampling.temperature = 1;
  request.sampling.seed = 11;
  request.sampling.max_new_tokens = 200;
  request.logprobs.wanted = true;
  request.logprobs.prompt_start = 20;
  request.constraint.kind = wire::ConstraintKind::kRegex;
  request.constraint.text = std::to_string(length);
  return request;
}

std::vector<wire::TokenOutput> answers_of(EngineRunner& engine, std::int32_t count) {
  std::vector<wire::RequestId> ids;
  ids.reserve(static_cast<std::size_t>(count));
  for (std::int32_t i = 0; i < count; ++i) ids.push_back(engine.submit(constrained(30 + 3 * i)));
  std::vector<wire::TokenOutput> answers;
  answers.reserve(ids.size());
  for (const wire::RequestId id : ids) answers.push_back(engine.wait(id));
  return answers;
}

// Takes long enough for the other threads to be called, and to come.
void linger() {
  const std::int64_t begin = now_ns();
  while (now_ns() - begin < 300'000) {
  }
}

TEST_P(StepMasks, AnswersDoNotDependOnTheirThreads) {
  compiler_.on_mask = linger;
  EngineRunner alone(kFolder, engine_with(1));
  EngineRunner many(kFolder, engine_with(3));

  const std::vector<wire::TokenOutput> expected = answers_of(alone, 4);
  const std::vector<wire::TokenOutput> answers = answers_of(many, 4);

  for (std::size_t i = 0; i < answers.size(); ++i) {
    EXPECT_EQ(answers[i].finish, wire::Finish::kStop);
    EXPECT_EQ(answers[i].tokens.size(), 31 + 3 * i);
    EXPECT_EQ(answers[i].tokens, expected[i].tokens);
    EXPECT_EQ(bits_of(answers[i].logprobs), bits_of(expected[i].logprobs));
  }
}

// Until two have met, each mask waits a little for another to be filled at the same time. It is in
// vain where a step has one masked row, and where the masks before were cheap.
TEST_P(StepMasks, DearOnesOfAStepAreFilledAtOnce) {
  std::mutex mutex;
  std::condition_variable came;
  int inside = 0;
  bool met = false;
  compiler_.on_mask = [&] {
    std::unique_lock lock(mutex);
    met = met || ++inside == 2;
    came.notify_all();
    came.wait_for(lock, std::chrono::milliseconds(50), [&] { return met; });
    --inside;
  };
  EngineRunner engine(kFolder, engine_with(2));
  answers_of(engine, 4);
  EXPECT_TRUE(met);
}

// The model's part of a step comes first, so that a device computes it meanwhile.
TEST_P(StepMasks, AreFilledWhenTheirStepHasBegun) {
  std::atomic<const char*> phase{nullptr};
  std::atomic<int> masks{0};
  std::atomic<int> early{0};
  compiler_.on_mask = [&] {
    ++masks;
    const char* const now = phase.load();
    if (now == nullptr || std::strcmp(now, "draw") != 0) ++early;
  };
  EngineRunnerOptions options = engine_with(2);
  options.engine.on_phase = [&](const char* name) { phase = name; };
  EngineRunner engine(kFolder, options);
  answers_of(engine, 3);
  EXPECT_EQ(masks, 31 + 34 + 37);  // one a token
  EXPECT_EQ(early, 0);
}

INSTANTIATE_TEST_SUITE_P(Schedules, StepMasks, testing::Bool(), [](const auto& each) {
  return each.param ? "Overlapping" : "StepByStep";
});

}  // namespace
}  // namespace fathom::engine
