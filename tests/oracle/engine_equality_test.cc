#include <algorithm>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support/adjusted_request.h"
#include "support/answer_bits.h"
#include "support/engine_runner.h"
#include "support/random_beginning.h"
#include "support/step_grammar.h"

// What a request gets does not depend on its company: 200 requests in random order, with aborts, a
// pool that is too small for those that run, and prompts that others began with, give the bits that
// each gives alone, computed from its first token on.

namespace fathom::oracle {
namespace {

using test_support::begins_with;
using test_support::between;
using test_support::bits_of;
using test_support::EngineRunner;
using test_support::EngineRunnerOptions;
using test_support::random_beginning;
using wire::Finish;

struct Case {
  const char* name;
  const char* folder;
  config::KvCacheDType kv_cache_dtype;
  int threads;
  bool overlap;
  bool prefix_cache;
  cache::Eviction eviction;
  std::int32_t drafts;
  bool switches = false;  // drafts are turned off and on again and again
};

constexpr std::int32_t kVocab = 512;
constexpr wire::TokenId kEnd = 509;

wire::GenerateRequest random_request(std::mt19937& random,
                                     const std::vector<wire::TokenId>& conversation) {
  wire::GenerateRequest request;
  // Some prompts take several chunks; answers that are long outgrow what was kept free for them at
  // their admission.
  const bool talkative = random() % 3 == 0;
  const bool long_prompt = !talkative && random() % 8 == 0;
  request.prompt = random_beginning(random, kVocab, conversation);
  const std::int32_t own =
      long_prompt && request.prompt.empty() ? between(random, 150, 420) : between(random, 1, 60);
  for (std::int32_t i = 0; i < own; ++i) request.prompt.push_back(between(random, 0, kVocab - 1));
  const auto length = static_cast<std::int32_t>(request.prompt.size());
  wire::SamplingParams& sampling = request.sampling;
  sampling.max_new_tokens = talkative ? between(random, 250, 450) : between(random, 0, 40);
  sampling.seed = (static_cast<std::uint64_t>(random()) << 32U) | random();
  sampling.sample = random() % 4 == 0 ? 3 : 0;
  switch (random() % 4) {
    case 0:
      sampling.temperature = 0;
      break;
    case 1:
      sampling.temperature = 0.7F;
      sampling.top_p = 0.9F;
      break;
    case 2:
      sampling.temperature = 1.3F;
      sampling.top_k = between(random, 1, 50);
      sampling.min_p = 0.02F;
      break;
    default:
      sampling.temperature = 1;
      break;
  }
  if (random() % 5 == 0)
    sampling.stop_token_ids = {between(random, 0, 99), between(random, 100, 400)};
  // Two of them part the cache.
  if (random() % 4 == 0) request.cache_namespace = "other";
  request.stream = random() % 2 == 0;
  request.stream_interval = between(random, 1, 5);
  if (random() % 3 == 0) {
    request.logprobs.wanted = true;
    request.logprobs.prompt_start = between(random, 0, length);
    request.logprobs.top = between(random, 0, 5);
    if (random() % 2 == 0) request.logprobs.token_ids = {between(random, 0, kVocab - 1), 9};
  }
  return request;
}

class EngineEquality : public testing::TestWithParam<Case> {
 protected:
  // `crowded`: many at once in small chunks over few pages; else one at a time, prompts in one
  // chunk, room for everything.
  EngineRunnerOptions options(bool crowded) {
    EngineRunnerOptions options;
    options.engine.compiler = &compiler_;
    options.engine.end_tokens = {kEnd};
    options.kv_cache_dtype = GetParam().kv_cache_dtype;
    options.threads = crowded ? GetParam().threads : 1;
    options.pages = crowded ? 12 : 64;
    options.engine.context_tokens = 700;
    options.engine.max_running = crowded ? 16 : 1;
    options.engine.chunk_tokens = crowded ? 57 : 512;
    options.engine.reserve_ratio = crowded ? 0.25F : 0.7F;
    options.engine.overlap = crowded && GetParam().overlap;
    options.engine.prefix_cache = crowded && GetParam().prefix_cache;
    options.engine.eviction = GetParam().eviction;
    options.engine.drafts = crowded ? GetParam().drafts : 0;
    if (GetParam().switches) {
      options.engine.draft_switch = {
          .window = 80, .retry = 20, .max_retry = 20, .least_gain = 1000};
    }
    return options;
  }
  static std::string folder() { return std::string(FATHOM_TEST_DATA "/") + GetParam().folder; }

 private:
  test_support::StepCompiler compiler_{kVocab, {kEnd}};
};

TEST_P(EngineEquality, CrowdedRequestsGiveTheBitsOfEachAlone) {
  const unsigned seed = 20251125;
  const bool all = std::getenv("FATHOM_TEST_ALL") != nullptr;  // NOLINT(concurrency-mt-unsafe)
  const int count = all ? 1000 : 200;
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  std::vector<wire::GenerateRequest> requests;
  std::vector<wire::TokenOutput> alone;
  std::mt19937 adjustments(seed);
  std::vector<wire::TokenId> conversation;
  {
    EngineRunner engine(folder(), options(/*crowded=*/false));
    for (int i = 0; i < count; ++i) {
      requests.push_back(random_request(random, conversation));
      test_support::adjust_at_random(adjustments, kVocab, requests.back());
      alone.push_back(engine.wait(engine.submit(requests.back())));
      conversation = requests.back().prompt;
      conversation.insert(conversation.end(), alone.back().tokens.begin(),
                          alone.back().tokens.end());
    }
  }

  std::vector<std::size_t> order(requests.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::shuffle(order.begin(), order.end(), random);
  EngineRunner engine(folder(), options(/*crowded=*/true));
  std::vector<wire::RequestId> ids(requests.size());
  for (const std::size_t i : order) ids[i] = engine.submit(requests[i]);
  // A fifth of them is aborted: some before they ran, some while they run, some too late.
  std::vector<bool> aborted(requests.size(), false);
  for (const std::size_t i : order) {
    if (random() % 5 != 0) continue;
    aborted[i] = true;
    if (requests[i].stream && random() % 3 != 0) {
      engine.wait_for_tokens(ids[i], random() % 20);
    }
    engine.abort(ids[i]);
  }

  int cut_short = 0;
  int retractions = 0;
  std::int64_t cached = 0;
  std::int64_t accepted = 0;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    SCOPED_TRACE("request " + std::to_string(i));
    const wire::TokenOutput output = engine.wait(ids[i]);
    retractions += output.retractions;
    cached += output.cached_tokens;
    accepted += output.drafts.accepted;
    if (output.finish == Finish::kAbort) {
      ++cut_short;
      EXPECT_TRUE(aborted[i]) << output.error.message();
      EXPECT_TRUE(begins_with(alone[i].tokens, output.tokens));
      EXPECT_TRUE(begins_with(bits_of(alone[i].logprobs), bits_of(output.logprobs)));
      EXPECT_TRUE(begins_with(bits_of(alone[i].prompt_logprobs), bits_of(output.prompt_logprobs)));
      continue;
    }
    EXPECT_EQ(output.finish, alone[i].finish);
    EXPECT_EQ(output.stop_token, alone[i].stop_token);
    EXPECT_EQ(output.tokens, alone[i].tokens);
    EXPECT_EQ(bits_of(output.logprobs), bits_of(alone[i].logprobs));
    EXPECT_EQ(bits_of(output.prompt_logprobs), bits_of(alone[i].prompt_logprobs));
  }
  EXPECT_EQ(engine.load().pages_used, 0);
  EXPECT_EQ(engine.load().pages_leaked, 0);
  // The schedule was what the test is about.
  EXPECT_GT(cut_short, count / 20);
  EXPECT_GE(retractions, count / 40);
  if (GetParam().prefix_cache) {
    EXPECT_GT(cached, count * 5);
  } else {
    EXPECT_EQ(cached, 0);
  }
  RecordProperty("drafts accepted", std::to_string(accepted));
  EXPECT_EQ(accepted > 0, GetParam().drafts > 0);
  RecordProperty("cached", std::to_string(cached));
  RecordProperty("aborted", cut_short);
  RecordProperty("retractions", retractions);
}

INSTANTIATE_TEST_SUITE_P(
    Checkpoints,
    EngineEquality,
    testing::Values(Case{"MicroBf16", "micro-bf16", config::KvCacheDType::kAuto, 1, false, false,
                         cache::Eviction::kLru, 0},
                    Case{"MicroBf16Fp8CacheTwoThreadsOverlappingPrefixes", "micro-bf16",
                         config::KvCacheDType::kF8E4M3, 2, true, true, cache::Eviction::kLfu, 0},
                    Case{"MicroBf16PrefixesDrafts", "micro-bf16", config::KvCacheDType::kAuto, 1,
                         false, true, cache::Eviction::kLru, 1},
                    Case{"MicroBf16Fp8CacheTwoThreadsPrefixesChains", "micro-bf16",
                         config::KvCacheDType::kF8E4M3, 2, false, true, cache::Eviction::kLru, 4},
                    Case{"MicroBf16PrefixesDraftsOffAndOn", "micro-bf16",
                         config::KvCacheDType::kAuto, 1, false, true, cache::Eviction::kLru, 1,
                         true},
                    Case{"MicroBf16OverlappingPrefixesDrafts", "micro-bf16",
                         config::KvCacheDType::kAuto, 1, true, true, cache::Eviction::kLru, 1},
                    Case{"MicroBf16TwoThreadsOverlappingPrefixesChains", "micro-bf16",
                         config::KvCacheDType::kAuto, 2, true, true, cache::Eviction::kLru, 4}),
    [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace fathom::oracle
