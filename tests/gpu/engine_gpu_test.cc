// The engine on the GPU against the engine on the CPU: the same requests, the same bits, whatever
// the batches, with and without graphs and a step launched ahead. $FATHOM_TEST_DATA names the
// folder of the test checkpoints, $FATHOM_HOME that of models/.

#include <cstdlib>
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
#include "support/step_grammar.h"

namespace fathom::gpu_test {
namespace {

using test_support::bits_of;
using test_support::EngineRunner;
using test_support::EngineRunnerOptions;

struct Case {
  const char* name;
  const char* folder;    // below the variable's
  const char* variable;  // of the environment
  config::KvCacheDType kv_cache_dtype;
  std::int32_t vocab;
  int requests;
  std::int32_t long_prompt;  // of one of them
};

std::string environment(const char* name) {
  const char* const value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
  return value == nullptr ? "" : value;
}

wire::GenerateRequest random_request(std::mt19937& random, const Case& each, bool long_prompt) {
  const auto below = [&](std::int32_t limit) {
    return static_cast<std::int32_t>(random() % static_cast<std::uint32_t>(limit));
  };
  wire::GenerateRequest request;
  const std::int32_t length = long_prompt ? each.long_prompt : 1 + below(200);
  for (std::int32_t i = 0; i < length; ++i) request.prompt.push_back(below(each.vocab));
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

class GpuEngine : public testing::TestWithParam<Case> {
 protected:
  static constexpr wire::TokenId kEnd = 509;

  EngineRunnerOptions options() {
    EngineRunnerOptions options;
    options.engine.compiler = &compiler_;
    options.kv_cache_dtype = GetParam().kv_cache_dtype;
    options.threads = 12;
    options.pages = 400;
    options.engine.context_tokens = GetParam().long_prompt + 200;
    options.engine.max_running = 24;
    options.engine.chunk_tokens = 512;
    return options;
  }

  static std::vector<wire::TokenOutput> run(EngineRunner& engine,
                                            const std::vector<wire::GenerateRequest>& requests) {
    std::vector<wire::RequestId> ids;
    ids.reserve(requests.size());
    for (const wire::GenerateRequest& request : requests) ids.push_back(engine.submit(request));
    std::vector<wire::TokenOutput> outputs;
    outputs.reserve(ids.size());
    for (const wire::RequestId id : ids) outputs.push_back(engine.wait(id));
    return outputs;
  }

 private:
  test_support::StepCompiler compiler_{GetParam().vocab, {kEnd}};
};

TEST_P(GpuEngine, GivesTheBitsOfTheEngineOnTheCpu) {
  if (auto device = cuda::CudaDevice::open(0); !device.ok()) {
    GTEST_SKIP() << device.status().message();
  }
  const std::string root = environment(GetParam().variable);
  ASSERT_NE(root, "") << "set " << GetParam().variable;
  const std::string folder = root + "/" + GetParam().folder;
  std::mt19937 random(20251125);
  std::mt19937 adjustments(1);
  std::vector<wire::GenerateRequest> requests;
  requests.reserve(static_cast<std::size_t>(GetParam().requests));
  for (int i = 0; i < GetParam().requests; ++i) {
    requests.push_back(random_request(random, GetParam(), i == GetParam().requests / 2));
    test_support::adjust_at_random(adjustments, GetParam().vocab, requests.back());
  }
  std::vector<wire::TokenOutput> expected;
  {
    EngineRunnerOptions plain = options();
    plain.engine.prefix_cache = false;
    EngineRunner cpu(folder, plain);
    expected = run(cpu, requests);
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
       {Schedule{"step by step", false, {}, 512, 400, 0},
        Schedule{"overlapping", true, {}, 200, 400, 0},
        Schedule{"graphs", true, {1, 2, 4, 8, 16}, 512, 400, 0},
        Schedule{"retractions", true, {1, 3, 24}, 333, few, 0},
        Schedule{"drafts", false, {}, 200, 400, 1},
        Schedule{"drafts, graphs", false, {1, 2, 4, 8, 16}, 512, 400, 1},
        Schedule{"drafts, overlapping", true, {}, 200, 400, 1},
        Schedule{"drafts, graphs, overlapping", true, {1, 2, 4, 8, 16}, 512, 400, 1},
        Schedule{"chains of drafts, graphs, retractions", false, {1, 3, 24}, 333, few, 3},
        Schedule{
            "chains of drafts, graphs, retractions, overlapping", true, {1, 3, 24}, 333, few, 3}}) {
    SCOPED_TRACE(schedule.name);
    EngineRunnerOptions gpu_options = options();
    gpu_options.engine.overlap = schedule.overlap;
    gpu_options.engine.drafts = schedule.drafts;
    gpu_options.engine.graph_batches = schedule.graphs;
    gpu_options.engine.chunk_tokens = schedule.chunk_tokens;
    gpu_options.engine.reserve_ratio = schedule.pages < 400 ? 0.0F : 0.7F;
    gpu_options.pages = schedule.pages;
    EngineRunner gpu(folder, gpu_options, cuda::CudaDevice::open(0).value(), cuda::make_cuda_ops());
    const std::vector<wire::TokenOutput> outputs = run(gpu, requests);
    int retractions = 0;
    wire::DraftCounts drafts;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      SCOPED_TRACE("request " + std::to_string(i));
      retractions += outputs[i].retractions;
      drafts.drafts += outputs[i].drafts.drafts;
      drafts.accepted += outputs[i].drafts.accepted;
      ASSERT_EQ(outputs[i].finish, expected[i].finish);
      ASSERT_TRUE(outputs[i].error.ok()) << outputs[i].error.message();
      ASSERT_EQ(outputs[i].tokens, expected[i].tokens);
      ASSERT_EQ(bits_of(outputs[i].prompt_logprobs), bits_of(expected[i].prompt_logprobs));
      ASSERT_EQ(bits_of(outputs[i].logprobs), bits_of(expected[i].logprobs));
    }
    std::cout << schedule.name << ": " << retractions << " retractions, " << drafts.accepted
              << " of " << drafts.drafts << " drafts accepted\n";
    EXPECT_EQ(drafts.drafts > 0, schedule.drafts > 0);
    // Beside a very long request the others may get by.
    if (schedule.pages == few && GetParam().long_prompt <= 1000) {
      EXPECT_GT(retractions, 0);
    } else if (schedule.pages != few) {
      EXPECT_EQ(retractions, 0);
    }
    ASSERT_TRUE(gpu.stop().ok());
  }
}

constexpr const char* kTestData = "FATHOM_TEST_DATA";
constexpr const char* kHome = "FATHOM_HOME";
constexpr auto kBf16 = config::KvCacheDType::kBF16;
constexpr auto kFp8 = config::KvCacheDType::kF8E4M3;

INSTANTIATE_TEST_SUITE_P(
    Checkpoints,
    GpuEngine,
    testing::Values(Case{"Micro", "micro-bf16", kTestData, kBf16, 512, 80, 1000},
                    Case{"SlimFp8Cache", "slim-fp8", kTestData, kFp8, 512, 80, 1000},
                    Case{"Tiny", "models/fathom-tiny", kHome, kBf16, 3072, 60, 7900},
                    Case{"TinyFp8Cache", "models/fathom-tiny", kHome, kFp8, 3072, 60, 3000}),
    [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace fathom::gpu_test
