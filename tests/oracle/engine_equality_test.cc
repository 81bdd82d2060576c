#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "support/adjusted_request.h"
#include "support/answer_bits.h"
#include "support/draft_evidence.h"
#include "support/engine_runner.h"
#include "support/random_beginning.h"
#include "support/step_grammar.h"

// What a request gets does not depend on its company: hundreds of requests in random order, with
// aborts, a pool that is too small for those that run, and prompts that others began with, give the
// bits that each gives alone, computed from its first token on and without drafts.
//
// Where every token can be drawn hardly a draft is right: its rows are written and thrown away.
// Where few can, so many are right that each thing a request may ask for decides many tokens behind
// right drafts, which the test counts.

namespace fathom::oracle {
namespace {

using test_support::begins_with;
using test_support::between;
using test_support::bits_of;
using test_support::DraftEvidence;
using test_support::DrawnWith;
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
  bool few = false;       // tokens can be drawn
  bool switches = false;  // drafts are turned off and on again and again

  std::size_t requests() const {
    const bool all = std::getenv("FATHOM_TEST_ALL") != nullptr;  // NOLINT(concurrency-mt-unsafe)
    if (all) return 1000;
    return few ? 500 : 200;
  }
};

constexpr std::int32_t kVocab = 512;
constexpr wire::TokenId kEnd = 509;
constexpr std::int32_t kFew = 4;  // the last of them is the end
constexpr unsigned kSeed = 20251125;

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

// `crowded`: many at once in small chunks over few pages; else one at a time, prompts in one chunk,
// room for everything.
EngineRunnerOptions engine_options(const Case& the_case,
                                   bool crowded,
                                   grammar::Compiler& compiler) {
  EngineRunnerOptions options;
  options.engine.compiler = &compiler;
  options.engine.end_tokens = {the_case.few ? kFew - 1 : kEnd};
  options.engine.first_unused_token = the_case.few ? kFew : 0;
  options.kv_cache_dtype = the_case.kv_cache_dtype;
  options.threads = crowded ? the_case.threads : 1;
  options.pages = crowded ? 12 : 64;
  options.engine.context_tokens = 700;
  options.engine.max_running = crowded ? 16 : 1;
  options.engine.chunk_tokens = crowded ? 57 : 512;
  options.engine.reserve_ratio = crowded ? 0.25F : 0.7F;
  options.engine.overlap = crowded && the_case.overlap;
  options.engine.prefix_cache = crowded && the_case.prefix_cache;
  options.engine.eviction = the_case.eviction;
  options.engine.drafts = crowded ? the_case.drafts : 0;
  if (crowded && the_case.switches) {
    options.engine.draft_switch = {.window = 80, .retry = 20, .max_retry = 20, .least_gain = 1000};
  }
  return options;
}

std::string folder_of(const Case& the_case) {
  return std::string(FATHOM_TEST_DATA "/") + the_case.folder;
}

struct Asked {
  std::vector<wire::GenerateRequest> requests;
  std::vector<wire::TokenOutput> alone;  // each one's answer
};

Asked ask(const Case& the_case, grammar::Compiler& compiler) {
  std::mt19937 random(kSeed);
  std::mt19937 adjustments(kSeed);
  std::vector<wire::TokenId> conversation;
  Asked asked;
  EngineRunner engine(folder_of(the_case), engine_options(the_case, /*crowded=*/false, compiler));
  for (std::size_t i = 0; i < the_case.requests(); ++i) {
    wire::GenerateRequest request = random_request(random, conversation);
    if (the_case.few) {
      test_support::adjust_narrowly(adjustments, kFew, request);
    } else {
      test_support::adjust_at_random(adjustments, kVocab, request);
    }
    asked.alone.push_back(engine.wait(engine.submit(request)));
    conversation = request.prompt;
    conversation.insert(conversation.end(), asked.alone.back().tokens.begin(),
                        asked.alone.back().tokens.end());
    asked.requests.push_back(std::move(request));
  }
  return asked;
}

class EngineEquality : public testing::TestWithParam<Case> {
 protected:
  // Cases that ask the same share it.
  const Asked& asked() {
    static std::map<std::tuple<std::string, config::KvCacheDType, bool>, Asked> all;
    const Case& the_case = GetParam();
    const auto [place, is_new] =
        all.try_emplace({the_case.folder, the_case.kv_cache_dtype, the_case.few});
    if (is_new) place->second = ask(the_case, compiler_);
    return place->second;
  }

  // Two classes leave a choice among few tokens.
  test_support::StepCompiler compiler_{GetParam().few ? kFew : kVocab,
                                       {GetParam().few ? kFew - 1 : kEnd},
                                       GetParam().few ? 2 : test_support::StepGrammar::kClasses};
};

// A third or less of what was seen where drafts are on and off, which has the fewest.
constexpr std::int64_t kLeastWith[DraftEvidence::kKinds] = {80, 300, 120, 80, 50,
                                                            30, 40,  2,   30, 80};
constexpr std::int64_t kLeastBehind[] = {400, 200, 50, 12};  // 1 right draft and more

void expect_worth(const DraftEvidence& evidence, std::int32_t drafts) {
  SCOPED_TRACE(evidence.describe());
  for (std::size_t kind = 0; kind < DraftEvidence::kKinds; ++kind) {
    EXPECT_GE(evidence.with(static_cast<DrawnWith>(kind)), kLeastWith[kind])
        << DraftEvidence::kNames[kind];
  }
  for (std::size_t right = 1; right <= static_cast<std::size_t>(drafts); ++right) {
    EXPECT_GE(evidence.behind(right), kLeastBehind[right - 1]) << right << " right drafts";
  }
}

TEST_P(EngineEquality, CrowdedRequestsGiveTheBitsOfEachAlone) {
  SCOPED_TRACE("seed " + std::to_string(kSeed));
  const std::vector<wire::GenerateRequest>& requests = asked().requests;
  const std::vector<wire::TokenOutput>& alone = asked().alone;
  const auto count = static_cast<int>(requests.size());

  std::mt19937 random(kSeed + 1);
  std::vector<std::size_t> order(requests.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::shuffle(order.begin(), order.end(), random);
  EngineRunner engine(folder_of(GetParam()),
                      engine_options(GetParam(), /*crowded=*/true, compiler_));
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
  wire::DraftCounts drafts;
  DraftEvidence evidence;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    SCOPED_TRACE("request " + std::to_string(i));
    const wire::TokenOutput output = engine.wait(ids[i]);
    retractions += output.retractions;
    cached += output.cached_tokens;
    drafts.drafts += output.drafts.drafts;
    drafts.accepted += output.drafts.accepted;
    evidence.add(requests[i], output.tokens, engine.told(ids[i]));
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
  EXPECT_GE(retractions, count / (GetParam().few ? 100 : 40));
  if (GetParam().prefix_cache) {
    EXPECT_GT(cached, count * (GetParam().few ? 2 : 5));
  } else {
    EXPECT_EQ(cached, 0);
  }
  EXPECT_EQ(drafts.accepted > 0, GetParam().drafts > 0);
  if (GetParam().few) expect_worth(evidence, GetParam().drafts);
  RecordProperty("drafts", std::to_string(drafts.drafts));
  RecordProperty("drafts accepted", std::to_string(drafts.accepted));
  RecordProperty("tokens behind right drafts", evidence.describe());
  RecordProperty("cached", std::to_string(cached));
  RecordProperty("aborted", cut_short);
  RecordProperty("retractions", retractions);
}

INSTANTIATE_TEST_SUITE_P(
    Checkpoints,
    EngineEquality,
    testing::Values(
        Case{"MicroBf16", "micro-bf16", config::KvCacheDType::kAuto, 1, false, false,
             cache::Eviction::kLru, 0},
        Case{"MicroBf16Fp8CacheTwoThreadsOverlappingPrefixes", "micro-bf16",
             config::KvCacheDType::kF8E4M3, 2, true, true, cache::Eviction::kLfu, 0},
        Case{"MicroBf16Fp8CacheTwoThreadsPrefixesChains", "micro-bf16",
             config::KvCacheDType::kF8E4M3, 2, false, true, cache::Eviction::kLru, 4},
        Case{"FewTokensPrefixesDrafts", "micro-bf16", config::KvCacheDType::kAuto, 1, false, true,
             cache::Eviction::kLru, 1, true},
        Case{"FewTokensPrefixesDraftsOffAndOn", "micro-bf16", config::KvCacheDType::kAuto, 1, false,
             true, cache::Eviction::kLru, 1, true, true},
        Case{"FewTokensPrefixesChains", "micro-bf16", config::KvCacheDType::kAuto, 1, false, true,
             cache::Eviction::kLru, 4, true},
        Case{"FewTokensOverlappingPrefixesDrafts", "micro-bf16", config::KvCacheDType::kAuto, 1,
             true, true, cache::Eviction::kLru, 1, true},
        Case{"FewTokensTwoThreadsOverlappingPrefixesChains", "micro-bf16",
             config::KvCacheDType::kAuto, 2, true, true, cache::Eviction::kLru, 4, true}),
    [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace fathom::oracle
