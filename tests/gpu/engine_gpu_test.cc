// The engine on the GPU against the engine on the CPU: the same requests, the same bits, whatever
// the batches, with and without graphs and a step launched ahead, from beginnings that others
// computed, beside requests that are aborted; the same drafts and the same bytes in the caches.
// $FATHOM_TEST_DATA names the folder of the test checkpoints, $FATHOM_HOME that of models/.

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/cpu_ops.h"
#include "backend/cuda/cuda_device.h"
#include "backend/cuda/cuda_ops.h"
#include "support/adjusted_request.h"
#include "support/answer_bits.h"
#include "support/engine_runner.h"
#include "support/random_beginning.h"
#include "support/step_grammar.h"

namespace fathom::gpu_test {
namespace {

using test_support::begins_with;
using test_support::bits_of;
using test_support::EngineRunner;
using test_support::EngineRunnerOptions;
using Requests = std::vector<wire::GenerateRequest>;
using Outputs = std::vector<wire::TokenOutput>;
using Tokens = std::vector<wire::TokenId>;

struct Case {
  const char* name;
  const char* folder;    // below the variable's
  const char* variable;  // of the environment
  config::KvCacheDType kv_cache_dtype;
  std::int32_t vocab;
  int requests;
  std::int32_t long_prompt;  // of one of them
  // Few tokens can be drawn where random weights would seldom draw what was guessed; 0: all can.
  std::int32_t drawable_with_drafts;
};

std::string environment(const char* name) {
  const char* const value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
  return value == nullptr ? "" : value;
}

// Its prompt may go on where `before` ends.
wire::GenerateRequest random_request(std::mt19937& random,
                                     const Case& each,
                                     bool long_prompt,
                                     const Tokens& before) {
  const auto below = [&](std::int32_t limit) {
    return static_cast<std::int32_t>(random() % static_cast<std::uint32_t>(limit));
  };
  wire::GenerateRequest request;
  if (!long_prompt) request.prompt = test_support::random_beginning(random, each.vocab, before);
  const std::int32_t own = long_prompt ? each.long_prompt : 1 + below(200);
  for (std::int32_t i = 0; i < own; ++i) request.prompt.push_back(below(each.vocab));
  const auto length = static_cast<std::int32_t>(request.prompt.size());
  request.stream = random() % 2 == 0;
  request.stream_interval = 1 + below(5);
  // Two of them part the cache.
  if (random() % 4 == 0) request.cache_namespace = "other";
  wire::SamplingParams& sampling = request.sampling;
  // Answers that are long outgrow what was kept free for them at their admission.
  sampling.max_new_tokens = random() % 2 == 0 ? 300 + below(150) : 1 + below(120);
  sampling.seed = (static_cast<std::uint64_t>(random()) << 32U) | random();
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
      sampling.top_k = 1 + below(50);
      sampling.min_p = 0.02F;
      break;
    default:
      sampling.temperature = 1;
      break;
  }
  // Half of them end early, while the next step is under way.
  if (random() % 2 == 0) {
    for (int i = 0; i < 12; ++i) sampling.stop_token_ids.push_back(below(each.vocab));
  }
  if (random() % 3 == 0) {
    request.logprobs.wanted = true;
    request.logprobs.prompt_start = below(length);
    request.logprobs.top = below(6);
    if (random() % 2 == 0) request.logprobs.token_ids = {below(each.vocab), 9};
  }
  return request;
}

Requests random_requests(std::mt19937& random, const Case& each, int count) {
  std::mt19937 adjustments(1);
  Requests requests;
  requests.reserve(static_cast<std::size_t>(count));
  Tokens before;
  for (int i = 0; i < count; ++i) {
    const bool long_prompt = i == count / 2;
    if (i > 0 && !long_prompt && random() % 6 == 0) {  // another sample of the same prompt
      requests.push_back(requests.back());
      ++requests.back().sampling.sample;
      continue;
    }
    requests.push_back(random_request(random, each, long_prompt, before));
    test_support::adjust_at_random(adjustments, each.vocab, requests.back());
    before = requests.back().prompt;
  }
  return requests;
}

// A request that is aborted: at once, or when it has told so many tokens.
struct Abort {
  std::size_t request = 0;
  std::size_t tokens = 0;
};

// A fifth of them: some before they run, some while they run, some too late.
std::vector<Abort> random_aborts(std::mt19937& random, const Requests& requests) {
  std::vector<Abort> aborts;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (random() % 5 != 0) continue;
    const bool waits = requests[i].stream && random() % 3 != 0;
    aborts.push_back({i, waits ? 1 + random() % 20 : 0});
  }
  return aborts;
}

Outputs run(EngineRunner& engine, const Requests& requests, const std::vector<Abort>& aborts = {}) {
  std::vector<wire::RequestId> ids;
  ids.reserve(requests.size());
  for (const wire::GenerateRequest& request : requests) ids.push_back(engine.submit(request));
  for (const Abort& each : aborts) {
    if (each.tokens > 0) engine.wait_for_tokens(ids[each.request], each.tokens);
    engine.abort(ids[each.request]);
  }
  Outputs outputs;
  outputs.reserve(ids.size());
  for (const wire::RequestId id : ids) outputs.push_back(engine.wait(id));
  return outputs;
}

Tokens joined(Tokens a, const Tokens& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// Three turns, each of what was said before and something new; nothing else runs.
constexpr std::int32_t kTurns = 3;
constexpr std::int32_t kTurnPrompt = 110;
constexpr std::int32_t kTurnAnswer = 90;

Outputs converse(EngineRunner& engine, std::int32_t vocab) {
  std::mt19937 random(77);
  Tokens said;
  Outputs answers;
  for (std::int32_t turn = 0; turn < kTurns; ++turn) {
    for (std::int32_t i = 0; i < kTurnPrompt; ++i) {
      said.push_back(test_support::between(random, 0, vocab - 1));
    }
    wire::GenerateRequest request;
    request.prompt = said;
    request.cache_namespace = "a conversation";
    request.sampling.seed = 5;
    request.sampling.ignore_eos = true;
    request.sampling.max_new_tokens = kTurnAnswer;
    answers.push_back(engine.wait(engine.submit(request)));
    said = joined(std::move(said), answers.back().tokens);
  }
  return answers;
}

// Steps in which answers go on and no prompt does.
struct DecodeSteps {
  int in_graphs = 0;
  int plain = 0;
};

void count_steps(DecodeSteps& steps, EngineRunnerOptions& options) {
  options.engine.account.report_interval = 1;
  options.engine.account.on_report = [&steps](const engine::StepReport& step) {
    if (!step.tells_decode || step.prefill_requests > 0) return;
    ++(step.graph ? steps.in_graphs : steps.plain);
  };
}

// What a schedule was like.
struct Seen {
  int retractions = 0;
  int cut_short = 0;
  std::int64_t cached = 0;
  wire::DraftCounts drafts;

  void add(const wire::TokenOutput& output) {
    retractions += output.retractions;
    if (output.finish == wire::Finish::kAbort) ++cut_short;
    cached += output.cached_tokens;
    drafts.drafts += output.drafts.drafts;
    drafts.accepted += output.drafts.accepted;
  }
};

void expect_equal_answer(const wire::TokenOutput& output, const wire::TokenOutput& expected) {
  if (output.finish == wire::Finish::kAbort) {
    ASSERT_EQ(output.error.code(), Code::kCancelled) << output.error.message();
    ASSERT_TRUE(begins_with(expected.tokens, output.tokens));
    ASSERT_TRUE(begins_with(bits_of(expected.prompt_logprobs), bits_of(output.prompt_logprobs)));
    ASSERT_TRUE(begins_with(bits_of(expected.logprobs), bits_of(output.logprobs)));
    return;
  }
  ASSERT_TRUE(output.error.ok()) << output.error.message();
  ASSERT_EQ(output.finish, expected.finish);
  ASSERT_EQ(output.tokens, expected.tokens);
  ASSERT_EQ(bits_of(output.prompt_logprobs), bits_of(expected.prompt_logprobs));
  ASSERT_EQ(bits_of(output.logprobs), bits_of(expected.logprobs));
}

class GpuEngine : public testing::TestWithParam<Case> {
 protected:
  static constexpr wire::TokenId kEnd = 509;

  void SetUp() override {
    if (auto device = cuda::CudaDevice::open(0); !device.ok()) {
      GTEST_SKIP() << device.status().message();
    }
    const std::string root = environment(GetParam().variable);
    ASSERT_NE(root, "") << "set " << GetParam().variable;
    folder_ = root + "/" + GetParam().folder;
  }

  EngineRunnerOptions options() {
    EngineRunnerOptions options;
    options.engine.compiler = &compiler_;
    options.kv_cache_dtype = GetParam().kv_cache_dtype;
    options.threads = 12;
    options.pages = kRoomy;
    options.engine.context_tokens = GetParam().long_prompt + 200;
    options.engine.max_running = 24;
    options.engine.chunk_tokens = 512;
    return options;
  }

  std::unique_ptr<EngineRunner> on_gpu(const EngineRunnerOptions& options) const {
    return std::make_unique<EngineRunner>(folder_, options, cuda::CudaDevice::open(0).value(),
                                          cuda::make_cuda_ops());
  }

  // Pages for the longest request and all that may run beside it.
  static constexpr std::int32_t kRoomy = 500;

  std::string folder_;

 private:
  test_support::StepCompiler compiler_{GetParam().vocab, {kEnd}};
};

TEST_P(GpuEngine, GivesTheBitsOfTheEngineOnTheCpu) {
  std::mt19937 random(20251125);
  const Requests requests = random_requests(random, GetParam(), GetParam().requests);
  const std::vector<Abort> aborts = random_aborts(random, requests);
  Outputs expected;
  Outputs expected_turns;
  {
    EngineRunnerOptions plain = options();
    plain.engine.prefix_cache = false;
    EngineRunner cpu(folder_, plain);
    expected = run(cpu, requests);
    expected_turns = converse(cpu, GetParam().vocab);
  }
  // The longest request fits, and nothing beside it.
  const std::int32_t few = (GetParam().long_prompt + 200) / config::kPageTokens + 1;
  struct Schedule {
    const char* name;
    bool overlap;
    std::vector<std::int32_t> graphs;
    std::int32_t chunk_tokens;
    std::int32_t pages;
    std::int32_t drafts;
  };
  for (const Schedule& schedule :
       {Schedule{"step by step", false, {}, 512, kRoomy, 0},
        Schedule{"overlapping", true, {}, 200, kRoomy, 0},
        Schedule{"graphs", true, {1, 2, 4, 8, 16}, 512, kRoomy, 0},
        Schedule{"retractions", true, {1, 3, 24}, 333, few, 0},
        Schedule{"drafts", false, {}, 200, kRoomy, 1},
        Schedule{"drafts, graphs", false, {1, 2, 4, 8, 16}, 512, kRoomy, 1},
        Schedule{"drafts, overlapping", true, {}, 200, kRoomy, 1},
        Schedule{"drafts, graphs, overlapping", true, {1, 2, 4, 8, 16}, 512, kRoomy, 1},
        Schedule{"chains of drafts, graphs, retractions", false, {1, 3, 24}, 333, few, 3},
        Schedule{
            "chains of drafts, graphs, retractions, overlapping", true, {1, 3, 24}, 333, few, 3}}) {
    SCOPED_TRACE(schedule.name);
    EngineRunnerOptions gpu_options = options();
    gpu_options.engine.overlap = schedule.overlap;
    gpu_options.engine.drafts = schedule.drafts;
    gpu_options.engine.graph_batches = schedule.graphs;
    gpu_options.engine.chunk_tokens = schedule.chunk_tokens;
    gpu_options.engine.reserve_ratio = schedule.pages < kRoomy ? 0.0F : 0.7F;
    gpu_options.pages = schedule.pages;
    DecodeSteps steps;
    count_steps(steps, gpu_options);
    const auto gpu = on_gpu(gpu_options);
    const Outputs outputs = run(*gpu, requests, aborts);
    const Outputs turns = converse(*gpu, GetParam().vocab);
    ASSERT_TRUE(gpu->stop().ok());

    Seen seen;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      SCOPED_TRACE("request " + std::to_string(i));
      seen.add(outputs[i]);
      ASSERT_NO_FATAL_FAILURE(expect_equal_answer(outputs[i], expected[i]));
      const bool aborted = std::any_of(aborts.begin(), aborts.end(),
                                       [i](const Abort& each) { return each.request == i; });
      EXPECT_TRUE(aborted || outputs[i].finish != wire::Finish::kAbort);
    }
    for (std::size_t turn = 0; turn < turns.size(); ++turn) {
      SCOPED_TRACE("turn " + std::to_string(turn));
      ASSERT_NO_FATAL_FAILURE(expect_equal_answer(turns[turn], expected_turns[turn]));
      const auto said = static_cast<std::int32_t>(turn) * (kTurnPrompt + kTurnAnswer);
      EXPECT_EQ(turns[turn].cached_tokens, said / config::kPageTokens * config::kPageTokens);
    }
    const wire::EngineTotals totals = gpu->load().totals;
    std::cout << schedule.name << ": " << seen.retractions << " retractions, " << seen.cut_short
              << " cut short, " << seen.cached << " cached tokens, " << seen.drafts.accepted
              << " of " << seen.drafts.drafts << " drafts accepted, " << totals.graph_passes
              << " steps in graphs, " << totals.plain_passes << " not (" << steps.plain
              << " without prompts)\n";
    // The schedule was what the test is about.
    EXPECT_GT(seen.cached, 0);
    EXPECT_GT(seen.cut_short, 0);
    EXPECT_EQ(seen.drafts.drafts > 0, schedule.drafts > 0);
    EXPECT_EQ(seen.drafts.accepted > 0, schedule.drafts > 0);
    EXPECT_EQ(totals.graph_passes > 0, !schedule.graphs.empty());
    EXPECT_EQ(steps.in_graphs > 0, !schedule.graphs.empty());
    // Where all that run fit into the largest graph, prompts alone keep a step out of one.
    if (!schedule.graphs.empty() && schedule.graphs.back() == gpu_options.engine.max_running) {
      EXPECT_EQ(steps.plain, 0);
    }
    // Beside a very long request the others may get by.
    if (schedule.pages == few && GetParam().long_prompt <= 1000) {
      EXPECT_GT(seen.retractions, 0);
    } else if (schedule.pages != few) {
      EXPECT_EQ(seen.retractions, 0);
    }
  }
}

// Where there is room for all, what a sequence's drafts are and how many of them a step verifies
// depends on the sequence alone: drafts come of cache rows and hidden states that are its own, and
// the planner grants them all. So a CPU with the same options counts the same ones, and leaves the
// same bytes, the draft layer's included.
TEST_P(GpuEngine, MakesTheDraftsAndCacheRowsOfTheCpu) {
  std::mt19937 random(20251130);
  Requests requests;
  for (int i = 0; i < 16; ++i) {
    const Tokens before = i > 0 ? requests.back().prompt : Tokens();
    requests.push_back(random_request(random, GetParam(), /*long_prompt=*/false, before));
    wire::SamplingParams& sampling = requests.back().sampling;
    sampling.max_new_tokens = test_support::between(random, 1, 100);
    if (random() % 4 == 0) sampling.min_new_tokens = sampling.max_new_tokens / 2;
    if (random() % 4 == 0) sampling.frequency_penalty = 0.5F;
  }
  struct Schedule {
    const char* name;
    std::int32_t drafts;
    bool overlap;
    std::vector<std::int32_t> graphs;
  };
  for (const Schedule& schedule : {Schedule{"a draft", 1, false, {}},
                                   Schedule{"a draft, graphs, overlapping", 1, true, {1, 2, 4, 16}},
                                   Schedule{"chains, graphs, overlapping", 3, true, {3, 24}}}) {
    SCOPED_TRACE(schedule.name);
    EngineRunnerOptions both = options();
    both.engine.drafts = schedule.drafts;
    both.engine.overlap = schedule.overlap;
    both.engine.chunk_tokens = 200;
    both.engine.first_unused_token = GetParam().drawable_with_drafts;
    EngineRunnerOptions gpu_options = both;
    gpu_options.engine.graph_batches = schedule.graphs;
    EngineRunner cpu(folder_, both);
    const Outputs expected = run(cpu, requests);
    ASSERT_TRUE(cpu.stop().ok());
    const auto gpu = on_gpu(gpu_options);
    const Outputs outputs = run(*gpu, requests);
    ASSERT_TRUE(gpu->stop().ok());

    Seen seen;
    std::size_t pages = 0;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      SCOPED_TRACE("request " + std::to_string(i));
      seen.add(outputs[i]);
      ASSERT_NO_FATAL_FAILURE(expect_equal_answer(outputs[i], expected[i]));
      ASSERT_EQ(outputs[i].retractions + expected[i].retractions, 0);
      EXPECT_EQ(outputs[i].drafts.steps, expected[i].drafts.steps);
      EXPECT_EQ(outputs[i].drafts.drafts, expected[i].drafts.drafts);
      EXPECT_EQ(outputs[i].drafts.accepted, expected[i].drafts.accepted);
      const Tokens whole = joined(requests[i].prompt, outputs[i].tokens);
      const auto found = gpu->found_pages(whole, requests[i].cache_namespace);
      const auto of_cpu = cpu.found_pages(whole, requests[i].cache_namespace);
      ASSERT_EQ(found.size(), of_cpu.size());
      pages += found.size();
      for (std::size_t page = 0; page < found.size(); ++page) {
        ASSERT_FALSE(gpu->lacks_draft_rows(found[page]));
        for (std::int32_t layer = 0; layer < gpu->store().layers(); ++layer) {
          ASSERT_EQ(gpu->page_bytes(layer, found[page]), cpu.page_bytes(layer, of_cpu[page]))
              << "layer " << layer << ", page " << page;
        }
      }
    }
    std::cout << schedule.name << ": " << seen.drafts.accepted << " of " << seen.drafts.drafts
              << " drafts accepted, " << pages << " pages equal\n";
    EXPECT_GT(seen.drafts.accepted, 0);
    EXPECT_LT(seen.drafts.accepted, seen.drafts.drafts);
    EXPECT_GT(pages, requests.size());
    EXPECT_EQ(gpu->load().totals.graph_passes > 0, !schedule.graphs.empty());
  }
}

constexpr const char* kTestData = "FATHOM_TEST_DATA";
constexpr const char* kHome = "FATHOM_HOME";
constexpr auto kBf16 = config::KvCacheDType::kBF16;
constexpr auto kFp8 = config::KvCacheDType::kF8E4M3;

INSTANTIATE_TEST_SUITE_P(
    Checkpoints,
    GpuEngine,
    testing::Values(Case{"Micro", "micro-bf16", kTestData, kBf16, 512, 80, 1000, 4},
                    Case{"SlimFp8Cache", "slim-fp8", kTestData, kFp8, 512, 80, 1000, 4},
                    Case{"Tiny", "models/fathom-tiny", kHome, kBf16, 3072, 60, 7900, 0},
                    Case{"TinyFp8Cache", "models/fathom-tiny", kHome, kFp8, 3072, 60, 3000, 0}),
    [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace fathom::gpu_test
