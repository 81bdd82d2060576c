#include <algorithm>
#include <atomic>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "support/engine_runner.h"

// What requests find of those before them. That it changes no bit of an answer is
// tests/oracle/engine_equality_test.cc's.
namespace fathom::engine {
namespace {

using test_support::EngineRunner;
using test_support::EngineRunnerOptions;
using Tokens = std::vector<wire::TokenId>;

constexpr const char* kFolder = FATHOM_TEST_DATA "/micro-bf16";

struct Schedule {
  const char* name;
  bool overlap;  // a step is launched ahead
  std::int32_t drafts;
};

class PrefixTest : public testing::TestWithParam<Schedule> {
 protected:
  static EngineRunnerOptions options() {
    EngineRunnerOptions options;
    options.engine.overlap = GetParam().overlap;
    options.engine.drafts = GetParam().drafts;
    options.pages = 32;
    options.engine.context_tokens = 1024;
    options.engine.max_running = 4;
    options.engine.chunk_tokens = 48;
    return options;
  }
};

Tokens text(std::int32_t tokens, std::int32_t which = 0) {
  Tokens out;
  for (std::int32_t i = 0; i < tokens; ++i) out.push_back((i * 37 + which * 11 + i / 64) % 500);
  return out;
}

wire::GenerateRequest request_for(Tokens prompt, std::int32_t max_new_tokens) {
  wire::GenerateRequest request;
  request.prompt = std::move(prompt);
  request.sampling.temperature = 0;
  request.sampling.ignore_eos = true;
  request.sampling.max_new_tokens = max_new_tokens;
  return request;
}

Tokens joined(Tokens a, const Tokens& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST_P(PrefixTest, ASecondTurnFindsThePromptAndTheAnswerOfTheFirst) {
  EngineRunner engine(kFolder, options());
  const wire::TokenOutput first = engine.wait(engine.submit(request_for(text(100), 60)));
  EXPECT_EQ(first.cached_tokens, 0);
  const Tokens conversation = joined(joined(text(100), first.tokens), text(20, 3));
  const wire::TokenOutput second = engine.wait(engine.submit(request_for(conversation, 30)));
  EXPECT_EQ(second.cached_tokens, 128);  // of 160: two pages are full
  EXPECT_EQ(engine.load().totals.cached_tokens, 128);
  EXPECT_EQ(engine.load().totals.prefill_tokens, 100 + 180 - 128);

  EngineRunnerOptions without = options();
  without.engine.prefix_cache = false;
  EngineRunner plain(kFolder, without);
  const wire::TokenOutput expected = plain.wait(plain.submit(request_for(conversation, 30)));
  EXPECT_EQ(second.tokens, expected.tokens);
  EXPECT_EQ(plain.wait(plain.submit(request_for(conversation, 1))).cached_tokens, 0);
}

TEST_P(PrefixTest, TheLastRowOfAPromptIsComputedAlways) {
  EngineRunner engine(kFolder, options());
  engine.wait(engine.submit(request_for(text(128), 1)));
  EXPECT_EQ(engine.wait(engine.submit(request_for(text(128), 1))).cached_tokens, 64);
  // With drafts a page is another one when another token follows, here the answer.
  EXPECT_EQ(engine.wait(engine.submit(request_for(text(129), 1))).cached_tokens,
            GetParam().drafts == 0 ? 128 : 64);
}

TEST_P(PrefixTest, RowsWhoseLogprobsAreWantedAreComputed) {
  EngineRunner engine(kFolder, options());
  wire::GenerateRequest request = request_for(text(200), 1);
  engine.wait(engine.submit(request));
  request.logprobs.wanted = true;
  request.logprobs.prompt_start = 0;
  wire::TokenOutput output = engine.wait(engine.submit(request));
  EXPECT_EQ(output.cached_tokens, 0);
  EXPECT_EQ(output.prompt_logprobs.size(), 200U);
  request.logprobs.prompt_start = 130;
  output = engine.wait(engine.submit(request));
  EXPECT_EQ(output.cached_tokens, 128);
  EXPECT_EQ(output.prompt_logprobs.size(), 70U);
}

TEST_P(PrefixTest, NothingIsFoundInAnotherNamespace) {
  EngineRunner engine(kFolder, options());
  wire::GenerateRequest request = request_for(text(100), 1);
  request.cache_namespace = "a";
  engine.wait(engine.submit(request));
  EXPECT_EQ(engine.wait(engine.submit(request)).cached_tokens, 64);
  request.cache_namespace = "b";
  EXPECT_EQ(engine.wait(engine.submit(request)).cached_tokens, 0);
  request.cache_namespace = "";
  EXPECT_EQ(engine.wait(engine.submit(request)).cached_tokens, 0);
}

// The first one computes it; the others wait for that instead of doing the same beside it.
TEST_P(PrefixTest, APromptThatManyHaveIsComputedOnce) {
  EngineRunner engine(kFolder, options());
  std::vector<wire::RequestId> ids;
  for (std::uint32_t sample = 0; sample < 4; ++sample) {
    wire::GenerateRequest request = request_for(text(200), 40);
    request.sampling.temperature = 1;
    request.sampling.seed = 7;
    request.sampling.sample = sample;
    ids.push_back(engine.submit(request));
  }
  std::int32_t cached = 0;
  for (const wire::RequestId id : ids) cached += engine.wait(id).cached_tokens;
  EXPECT_EQ(cached, 3 * 192);
  EXPECT_EQ(engine.load().totals.prefill_tokens, 200 + 3 * 8);
}

// With drafts none of them can find the page that ends where they part, so none waits for it.
TEST_P(PrefixTest, RequestsThatPartWhereAPageEndsWaitForNoOther) {
  EngineRunnerOptions whole = options();
  whole.engine.chunk_tokens = 512;
  std::atomic<bool> submitted = false;
  whole.engine.on_phase = [&submitted](const char*) { submitted.wait(false); };
  std::vector<std::int32_t> prefills;
  whole.engine.account.on_report = [&prefills](const StepReport& step) {
    if (step.prefill_requests > 0) prefills.push_back(step.prefill_requests);
  };
  EngineRunner engine(kFolder, whole);
  std::vector<wire::RequestId> ids;
  for (std::int32_t which = 0; which < 4; ++which) {
    Tokens prompt = joined(text(128), {which});
    ids.push_back(engine.submit(request_for(joined(prompt, text(10)), 1)));
  }
  submitted = true;
  submitted.notify_all();
  std::int32_t cached = 0;
  for (const wire::RequestId id : ids) cached += engine.wait(id).cached_tokens;
  EXPECT_TRUE(engine.stop().ok());
  // The first one is taken alone or with others. Those that come later find its pages, but with
  // drafts not the second; those beside it wait for the first page or for both.
  EXPECT_EQ(cached, 3 * (GetParam().drafts == 0 ? 128 : 64));
  EXPECT_LE(prefills.size(), 2U);
}

TEST_P(PrefixTest, WhatARunningRequestHasComputedIsFound) {
  EngineRunner engine(kFolder, options());
  wire::GenerateRequest request = request_for(text(200), 800);
  request.stream = true;
  const wire::RequestId running = engine.submit(request);
  engine.wait_for_tokens(running, 1);
  const wire::TokenOutput other =
      engine.wait(engine.submit(request_for(joined(text(150), text(20, 1)), 5)));
  EXPECT_EQ(other.cached_tokens, 128);
  EXPECT_EQ(engine.load().running, 1);
  engine.abort(running);
  engine.wait(running);
  EXPECT_EQ(engine.load().pages_used, 0);
  EXPECT_EQ(engine.load().pages_leaked, 0);
}

TEST_P(PrefixTest, AFlushForgetsAll) {
  EngineRunner engine(kFolder, options());
  engine.wait(engine.submit(request_for(text(200), 1)));
  EXPECT_EQ(engine.load().pages_cached, 3);
  engine.flush_cache();
  EXPECT_EQ(engine.wait(engine.submit(request_for(text(200), 1))).cached_tokens, 0);
  EXPECT_EQ(engine.wait(engine.submit(request_for(text(200), 1))).cached_tokens, 192);
}

TEST_P(PrefixTest, AFlushForgetsNothingThatARunningRequestHas) {
  EngineRunner engine(kFolder, options());
  engine.wait(engine.submit(request_for(text(200, 5), 1)));
  wire::GenerateRequest request = request_for(text(200), 800);
  request.stream = true;
  const wire::RequestId running = engine.submit(request);
  engine.wait_for_tokens(running, 1);
  engine.flush_cache();
  EXPECT_EQ(engine.wait(engine.submit(request_for(text(200, 5), 1))).cached_tokens, 0);
  EXPECT_EQ(engine.wait(engine.submit(request_for(text(200), 1))).cached_tokens, 192);
  engine.abort(running);
  EXPECT_EQ(engine.wait(running).finish, wire::Finish::kAbort);
  EXPECT_EQ(engine.load().pages_leaked, 0);
}

// Whoever reads the answer may end it before tokens that are drawn already.
TEST_P(PrefixTest, WhatFollowsTheEndOfAnAbortedAnswerIsNotKept) {
  for (const std::int32_t kept : {-1, 10}) {
    EngineRunner engine(kFolder, options());
    wire::GenerateRequest request = request_for(text(60), 600);
    request.stream = true;
    const wire::RequestId id = engine.submit(request);
    engine.wait_for_tokens(id, 140);
    engine.abort({id, kept});
    const wire::TokenOutput output = engine.wait(id);
    const Tokens conversation = joined(joined(text(60), output.tokens), text(5));
    const std::int32_t cached =
        engine.wait(engine.submit(request_for(conversation, 1))).cached_tokens;
    if (kept < 0) {
      EXPECT_GE(cached, 192);
    } else {
      EXPECT_EQ(cached, 64);
    }
  }
}

TEST_P(PrefixTest, WhatWasUsedLongestAgoMakesRoom) {
  EngineRunnerOptions small = options();
  small.pages = 8;
  small.engine.context_tokens = 300;
  EngineRunner engine(kFolder, small);
  for (std::int32_t which = 0; which < 4; ++which) {
    engine.wait(engine.submit(request_for(text(130, which), 1)));
  }
  // Three pages each while it ran, two of them full: the last one needed room.
  EXPECT_GT(engine.load().totals.evicted_tokens, 0);
  EXPECT_LE(engine.load().pages_cached, 8);
  EXPECT_EQ(engine.load().pages_used, 0);
  EXPECT_EQ(engine.wait(engine.submit(request_for(text(130, 3), 1))).cached_tokens, 128);
  EXPECT_LT(engine.wait(engine.submit(request_for(text(130, 0), 1))).cached_tokens, 128);
  EXPECT_EQ(engine.load().pages_leaked, 0);
}

// Of two prompts one was used often, the other last.
TEST_P(PrefixTest, WhatMakesRoomIsThePolicys) {
  for (const cache::Eviction eviction : {cache::Eviction::kLru, cache::Eviction::kLfu}) {
    EngineRunnerOptions small = options();
    small.pages = 6;
    small.engine.context_tokens = 300;
    small.engine.eviction = eviction;
    EngineRunner engine(kFolder, small);
    for (const std::int32_t which : {1, 1, 1, 2}) {
      engine.wait(engine.submit(request_for(text(130, which), 1)));
    }
    EXPECT_EQ(engine.load().totals.evicted_tokens, 0);
    engine.wait(engine.submit(request_for(text(190, 3), 1)));  // three pages, two are free
    EXPECT_EQ(engine.load().totals.evicted_tokens, 64);
    const std::int32_t evicted = eviction == cache::Eviction::kLru ? 1 : 2;
    EXPECT_EQ(engine.wait(engine.submit(request_for(text(129, 3 - evicted), 1))).cached_tokens,
              128);
    EXPECT_EQ(engine.wait(engine.submit(request_for(text(129, evicted), 1))).cached_tokens, 64);
  }
}

TEST_P(PrefixTest, TheLongestPrefixIsNextWhereThatIsThePolicy) {
  EngineRunnerOptions one = options();
  one.engine.max_running = 1;
  one.engine.order.policy = sched::Policy::kLongestPrefix;
  EngineRunner engine(kFolder, one);
  engine.wait(engine.submit(request_for(text(200), 1)));
  wire::GenerateRequest busy = request_for(text(10, 9), 700);
  busy.stream = true;
  const wire::RequestId running = engine.submit(busy);
  engine.wait_for_tokens(running, 1);
  const wire::RequestId unknown = engine.submit(request_for(text(200, 5), 2));
  const wire::RequestId known = engine.submit(request_for(text(200), 2));
  // Both wait before either can start.
  engine.abort(running);
  const std::int64_t later = engine.wait(unknown).times.started_ns;
  const std::int64_t sooner = engine.wait(known).times.started_ns;
  EXPECT_LT(sooner, later);
}

// Sanitizers see all of the code in one.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
const auto kSchedules = testing::Values(Schedule{"OverlappingWithDrafts", true, 1});
#else
const auto kSchedules = testing::Values(Schedule{"StepByStep", false, 0},
                                        Schedule{"Overlapping", true, 0},
                                        Schedule{"StepByStepWithDrafts", false, 1},
                                        Schedule{"OverlappingWithDrafts", true, 1});
#endif
INSTANTIATE_TEST_SUITE_P(Schedules, PrefixTest, kSchedules, [](const auto& each) {
  return each.param.name;
});

}  // namespace
}  // namespace fathom::engine
