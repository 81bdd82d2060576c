#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "support/answer_bits.h"
#include "support/engine_runner.h"

// What drafts do at the ends of answers, contexts and pools, and what is told of them. That they
// change no answer in a crowd is tests/oracle/engine_equality_test.cc's, that they leave nothing
// behind in the caches speculation_rows_test.cc's there.
namespace fathom::engine {
namespace {

using test_support::begins_with;
using test_support::bits_of;
using test_support::EngineRunner;
using test_support::EngineRunnerOptions;
using wire::Finish;

constexpr const char* kFolder = FATHOM_TEST_DATA "/micro-bf16";
// Two tokens can be drawn, so that about half of the drafts is right.
constexpr std::int32_t kDrawable = 2;

struct Case {
  std::int32_t drafts;
  bool overlap;
};

// Every test runs with one draft a round and with a chain of four, and with steps that are launched
// before the drafts of the step before are judged.
class DraftsTest : public testing::TestWithParam<Case> {
 protected:
  static EngineRunnerOptions options(const Case& each) {
    EngineRunnerOptions options;
    options.pages = 32;
    options.engine.context_tokens = 1024;
    options.engine.max_running = 4;
    options.engine.chunk_tokens = 128;
    options.engine.first_unused_token = kDrawable;
    options.engine.drafts = each.drafts;
    options.engine.overlap = each.overlap;
    return options;
  }

  // Two requests may run, whatever they will need.
  static EngineRunnerOptions tight(std::int32_t pages) {
    EngineRunnerOptions tight = options(GetParam());
    tight.pages = pages;
    tight.engine.context_tokens = 130;
    tight.engine.reserve_ratio = 0;
    tight.engine.prefix_cache = false;
    return tight;
  }

  EngineRunner drafting_{kFolder, options(GetParam())};
  EngineRunner plain_{kFolder, options({0, false})};

  // What the engine with drafts answers, which is what the one without answers.
  wire::TokenOutput answer(const wire::GenerateRequest& request) {
    wire::TokenOutput output = drafting_.wait(drafting_.submit(request));
    expect_equal(output, plain_.wait(plain_.submit(request)));
    return output;
  }
  static void expect_equal(const wire::TokenOutput& output, const wire::TokenOutput& expected) {
    EXPECT_EQ(output.tokens, expected.tokens);
    EXPECT_EQ(output.generated_tokens, std::ssize(expected.tokens));
    EXPECT_EQ(output.finish, expected.finish);
    EXPECT_EQ(output.stop_token, expected.stop_token);
    EXPECT_EQ(bits_of(output.logprobs), bits_of(expected.logprobs));
    EXPECT_EQ(bits_of(output.prompt_logprobs), bits_of(expected.prompt_logprobs));
    EXPECT_EQ(expected.drafts.steps + expected.drafts.drafts + expected.drafts.accepted, 0);
  }
};

wire::GenerateRequest request_for(std::int32_t prompt_tokens,
                                  std::int32_t max_new_tokens,
                                  std::uint64_t seed = 1) {
  wire::GenerateRequest request;
  for (std::int32_t i = 0; i < prompt_tokens; ++i) {
    request.prompt.push_back((i * 37 + prompt_tokens) % 512);
  }
  request.sampling.temperature = 1;
  request.sampling.seed = seed;
  request.sampling.max_new_tokens = max_new_tokens;
  return request;
}

// The last token needs no draft, and nothing is drafted behind it. A step that has none to verify
// counts as one.
TEST_P(DraftsTest, AnAnswerOfOneOrTwoTokensVerifiesNone) {
  for (const std::int32_t tokens : {0, 1, 2}) {
    const wire::TokenOutput output = answer(request_for(20, tokens));
    EXPECT_EQ(output.generated_tokens, tokens);
    EXPECT_EQ(output.drafts.steps, tokens == 2 ? 1 : 0);
    EXPECT_EQ(output.drafts.drafts, 0);
  }
  const wire::TokenOutput output = answer(request_for(20, 3));
  EXPECT_EQ(output.generated_tokens, 3);
  EXPECT_EQ(output.drafts.steps, 2 - output.drafts.accepted);
  EXPECT_EQ(output.drafts.drafts, 1);
}

// Of a request alone every step after the prompt's chunks draws, one token and one more for each
// right draft. A step has no more drafts than tokens that may still follow the one it draws anyway.
TEST_P(DraftsTest, TheCountsAddUp) {
  for (const std::int32_t tokens : {3, 4, 5, 17, 100}) {
    const std::int64_t before = drafting_.load().steps;
    const wire::DraftCounts total_before = drafting_.load().totals.drafts;
    const wire::TokenOutput output = answer(request_for(20, tokens));
    const std::int64_t steps = drafting_.load().steps - before;
    EXPECT_EQ(output.generated_tokens, tokens);
    EXPECT_EQ(output.finish, Finish::kLength);
    const wire::DraftCounts& counts = output.drafts;
    EXPECT_EQ(output.generated_tokens, steps + counts.accepted);
    EXPECT_EQ(steps, 1 + counts.steps);  // the prompt's, and those that decode
    EXPECT_LE(counts.drafts, counts.steps * GetParam().drafts);
    // The step for an answer's last token alone has no drafts, and none the one for what might be
    // the last token but for wrong drafts.
    EXPECT_GE(counts.drafts, counts.steps - (GetParam().overlap ? 2 : 1));
    EXPECT_LE(counts.accepted, counts.drafts);
    const wire::DraftCounts total = drafting_.load().totals.drafts;
    EXPECT_EQ(total.steps - total_before.steps, counts.steps);
    EXPECT_EQ(total.drafts - total_before.drafts, counts.drafts);
    EXPECT_EQ(total.accepted - total_before.accepted, counts.accepted);
    if (tokens == 100) {
      EXPECT_GT(counts.accepted, 10);
      EXPECT_LT(counts.accepted, counts.drafts);
    }
  }
}

// An end among the tokens that one step draws: those after it are dropped, though their drafts
// count as right.
TEST_P(DraftsTest, WhatFollowsAStopTokenInAStepIsDropped) {
  std::int64_t dropped = 0;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    wire::GenerateRequest request = request_for(20, 60, seed);
    request.sampling.stop_token_ids = {1};
    request.logprobs.wanted = true;
    request.logprobs.prompt_start = 20;
    request.stream = seed % 2 == 0;
    const std::int64_t told_before = drafting_.load().generated_tokens;
    const std::int64_t before = drafting_.load().steps;
    const wire::TokenOutput output = answer(request);
    const std::int64_t steps = drafting_.load().steps - before;
    if (output.finish == Finish::kStop) {
      EXPECT_EQ(output.tokens.back(), 1);
      EXPECT_EQ(std::count(output.tokens.begin(), output.tokens.end(), 1), 1);
    }
    EXPECT_EQ(output.logprobs.size(), output.tokens.size());
    EXPECT_EQ(drafting_.load().generated_tokens - told_before, output.generated_tokens);
    EXPECT_LE(output.generated_tokens, steps + output.drafts.accepted);
    dropped += steps + output.drafts.accepted - output.generated_tokens;
  }
  EXPECT_GT(dropped, 0);
  EXPECT_EQ(drafting_.load().pages_used, 0);
  EXPECT_EQ(drafting_.load().pages_leaked, 0);
}

// A stop string is found by whoever reads the answer, and ends it by an abort that may come when
// more is drawn: the answer up to there is as without drafts, and no more of it can be found.
TEST_P(DraftsTest, AnAnswerThatIsCutAtAStopStringIsKeptUpToThere) {
  const wire::TokenId stop[] = {1, 1, 0, 1};
  std::int64_t accepted = 0;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr std::uint64_t kSeeds = 1;
#else
  constexpr std::uint64_t kSeeds = 5;
#endif
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    wire::GenerateRequest request = request_for(50, 250, seed);
    request.stream = true;
    const std::vector<wire::TokenId> whole = plain_.wait(plain_.submit(request)).tokens;
    const auto found =
        std::search(whole.begin() + 80, whole.end(), std::begin(stop), std::end(stop));
    ASSERT_NE(found, whole.end());
    const auto kept = static_cast<std::size_t>(found - whole.begin()) + std::size(stop);

    request.sampling.max_new_tokens = 800;  // not over before the abort comes
    const wire::RequestId id = drafting_.submit(request);
    drafting_.wait_for_tokens(id, kept);
    drafting_.abort({id, static_cast<std::int32_t>(kept)});
    const wire::TokenOutput output = drafting_.wait(id);

    accepted += output.drafts.accepted;
    ASSERT_EQ(output.finish, Finish::kAbort);
    ASSERT_GE(output.tokens.size(), kept);
    EXPECT_TRUE(begins_with(whole, output.tokens) || begins_with(output.tokens, whole));
    wire::GenerateRequest next = request_for(0, 20, seed);
    next.prompt = request.prompt;
    next.prompt.insert(next.prompt.end(), output.tokens.begin(), output.tokens.end());
    next.prompt.insert(next.prompt.end(), 70, 7);
    // A page is found by the token after it, too.
    EXPECT_EQ(answer(next).cached_tokens, (50 + static_cast<std::int32_t>(kept) - 1) / 64 * 64);
  }
  EXPECT_GT(accepted, static_cast<std::int64_t>(10 * kSeeds));
}

TEST_P(DraftsTest, NothingEndsAnAnswerBeforeItsLeastLength) {
  std::int64_t accepted = 0;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    wire::GenerateRequest request = request_for(20, 60, seed);
    request.sampling.stop_token_ids = {1};
    request.sampling.min_new_tokens = 9;
    const wire::TokenOutput output = answer(request);
    EXPECT_GE(output.generated_tokens, 9);
    for (std::size_t i = 0; i + 1 < 9; ++i) EXPECT_EQ(output.tokens[i], 0);
    accepted += output.drafts.accepted;
  }
  EXPECT_GT(accepted, 0);
}

TEST_P(DraftsTest, EveryTokenHasItsLogprobs) {
  wire::GenerateRequest request = request_for(150, 50);  // two chunks
  request.logprobs.wanted = true;
  request.logprobs.prompt_start = 100;
  request.logprobs.top = 2;
  request.logprobs.token_ids = {0, 1, 300};
  const wire::TokenOutput output = answer(request);
  EXPECT_GT(output.drafts.accepted, 0);
  EXPECT_EQ(output.prompt_logprobs.size(), 50U);
  ASSERT_EQ(output.logprobs.size(), 50U);
  for (std::size_t i = 0; i < output.tokens.size(); ++i) {
    EXPECT_EQ(output.logprobs[i].id, output.tokens[i]);
    EXPECT_EQ(output.logprobs[i].top.size(), 2U);
    EXPECT_EQ(output.logprobs[i].asked.size(), 3U);
  }
}

TEST_P(DraftsTest, SamplesOfOnePromptDifferAsWithoutDrafts) {
  std::vector<wire::RequestId> drafting;
  std::vector<wire::RequestId> plain;
  wire::GenerateRequest request = request_for(100, 80);
  request.sampling.presence_penalty = 0.5F;
  for (std::uint32_t sample = 0; sample < 4; ++sample) {
    request.sampling.sample = sample;
    drafting.push_back(drafting_.submit(request));
    plain.push_back(plain_.submit(request));
  }
  std::vector<std::vector<wire::TokenId>> answers;
  for (std::size_t i = 0; i < drafting.size(); ++i) {
    const wire::TokenOutput output = drafting_.wait(drafting[i]);
    expect_equal(output, plain_.wait(plain[i]));
    EXPECT_GT(output.drafts.accepted, 0);
    answers.push_back(output.tokens);
  }
  std::sort(answers.begin(), answers.end());
  EXPECT_EQ(std::adjacent_find(answers.begin(), answers.end()), answers.end());
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // it would take a minute
TEST_P(DraftsTest, AnAnswerGoesToTheEndOfTheContext) {
  EXPECT_EQ(answer(request_for(900, 4000)).generated_tokens, 1024 - 1 - 900 - 1);
}
#endif

// Both fill all pages that there are.
TEST_P(DraftsTest, NobodyGivesPagesUpForDrafts) {
  EngineRunner engine(kFolder, tight(/*pages=*/4));
  const wire::GenerateRequest requests[] = {request_for(60, 4000), request_for(61, 4000)};
  wire::RequestId ids[2];
  for (int i = 0; i < 2; ++i) ids[i] = engine.submit(requests[i]);
  for (int i = 0; i < 2; ++i) {
    const wire::TokenOutput output = engine.wait(ids[i]);
    wire::GenerateRequest same = requests[i];
    same.sampling.max_new_tokens = output.generated_tokens;
    expect_equal(output, plain_.wait(plain_.submit(same)));
    EXPECT_EQ(output.generated_tokens, 130 - 1 - std::ssize(same.prompt) - 1);
    EXPECT_EQ(output.retractions, 0);
    EXPECT_GT(output.drafts.accepted, 0);
  }
  EXPECT_EQ(engine.load().pages_used, 0);
  EXPECT_EQ(engine.load().pages_leaked, 0);
}

// At the brink of a retraction there is no page for drafts.
TEST_P(DraftsTest, DraftsDoWithoutPagesThatAreTaken) {
  EngineRunnerOptions narrow = tight(/*pages=*/5);
  narrow.engine.context_tokens = 300;
  std::atomic<bool> submitted = false;  // both: else the older one may be gone too soon
  narrow.engine.on_phase = [&submitted](const char*) { submitted.wait(false); };
  EngineRunner engine(kFolder, narrow);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr std::int32_t kLongest = 60;
#else
  constexpr std::int32_t kLongest = 67;
#endif
  for (std::int32_t prompt_tokens = 60; prompt_tokens <= kLongest; ++prompt_tokens) {
    SCOPED_TRACE("prompt of " + std::to_string(prompt_tokens));
    const wire::GenerateRequest older = request_for(40, 240);
    const wire::GenerateRequest younger = request_for(prompt_tokens, 200);
    submitted = false;
    const wire::RequestId first = engine.submit(older);
    const wire::RequestId second = engine.submit(younger);
    submitted = true;
    submitted.notify_all();
    expect_equal(engine.wait(first), plain_.wait(plain_.submit(older)));
    const wire::TokenOutput retracted = engine.wait(second);
    expect_equal(retracted, plain_.wait(plain_.submit(younger)));
    EXPECT_GT(retracted.retractions, 0);
  }
  EXPECT_EQ(engine.load().pages_used, 0);
  EXPECT_EQ(engine.load().pages_leaked, 0);
}

// Sanitizers see all of the code in chains.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
const auto kCases = testing::Values(Case{4, true});
#else
const auto kCases = testing::Values(Case{1, false}, Case{4, false}, Case{1, true}, Case{4, true});
#endif
INSTANTIATE_TEST_SUITE_P(Drafts, DraftsTest, kCases, [](const auto& each) {
  return std::string(each.param.drafts == 1 ? "One" : "Chain") +
         (each.param.overlap ? "Ahead" : "");
});

}  // namespace
}  // namespace fathom::engine
