// The whole model on the GPU against the CPU, bit by bit. The folder with the test checkpoints and
// the bundled model's are named by $FATHOM_TEST_DATA and $FATHOM_HOME, as on a machine that has
// only them.

#include <bit>
#include <cstdlib>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "backend/cpu/cpu_ops.h"
#include "backend/cuda/cuda_device.h"
#include "backend/cuda/cuda_ops.h"
#include "support/model_runner.h"

namespace fathom::cuda {
namespace {

using test_support::ModelRunner;
using test_support::RunnerOptions;

struct Case {
  const char* name;
  const char* folder;  // below the variable's
  const char* variable;
  config::Arithmetic arithmetic;
  config::KvCacheDType kv_cache_dtype;
  std::int32_t vocab;
};

std::string environment(const char* name) {
  const char* const value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
  return value == nullptr ? "" : value;
}

void expect_equal(const ModelRunner::Step& cpu, const ModelRunner::Step& gpu, const char* what) {
  ASSERT_EQ(cpu.logits.size(), gpu.logits.size());
  for (std::size_t row = 0; row < cpu.logits.size(); ++row) {
    for (std::size_t i = 0; i < cpu.logits[row].size(); ++i) {
      ASSERT_EQ(std::bit_cast<std::uint32_t>(cpu.logits[row][i]),
                std::bit_cast<std::uint32_t>(gpu.logits[row][i]))
          << what << ", logit " << i << " of row " << row;
    }
  }
  ASSERT_EQ(cpu.hidden, gpu.hidden) << what;
}

class CudaModel : public testing::TestWithParam<Case> {};

// Two sequences, one longer than the selection of the indexer: prompts in chunks, then steps of
// both, and the draft layer behind every step.
TEST_P(CudaModel, GivesTheCpusBits) {
  auto device = CudaDevice::open(0);
  if (!device.ok()) GTEST_SKIP() << device.status().message();
  const std::string root = environment(GetParam().variable);
  ASSERT_NE(root, "") << "set " << GetParam().variable;
  RunnerOptions options;
  options.arithmetic = GetParam().arithmetic;
  options.kv_cache_dtype = GetParam().kv_cache_dtype;
  options.threads = 8;
  options.max_tokens = 200;
  options.max_positions = 1024;
  options.pages = 40;
  const std::string folder = root + "/" + GetParam().folder;
  ModelRunner cpu(folder, options);
  ModelRunner gpu(folder, options, std::move(device).value(), make_cuda_ops());

  std::mt19937 random(7);
  const auto ids = [&](int count) {
    std::vector<std::int32_t> made(static_cast<std::size_t>(count));
    for (std::int32_t& id : made) {
      id = static_cast<std::int32_t>(random() % static_cast<std::uint32_t>(GetParam().vocab));
    }
    return made;
  };
  for (ModelRunner* runner : {&cpu, &gpu}) {
    runner->add_sequence();
    runner->add_sequence();
  }
  const std::vector<std::vector<ModelRunner::Piece>> steps{{{0, 0, ids(130)}, {1, 0, ids(70)}},
                                                           {{0, 130, ids(200)}},
                                                           {{0, 330, ids(63)}, {1, 70, ids(1)}},
                                                           {{0, 393, ids(1)}, {1, 71, ids(1)}},
                                                           {{1, 72, ids(1)}},
                                                           {{0, 394, ids(1)}}};
  for (const auto& step : steps) {
    const ModelRunner::Step on_cpu = cpu.forward(step);
    const ModelRunner::Step on_gpu = gpu.forward(step);
    expect_equal(on_cpu, on_gpu, "main model");
    if (HasFatalFailure()) return;
    expect_equal(cpu.draft(step, on_cpu.hidden), gpu.draft(step, on_gpu.hidden), "draft layer");
    if (HasFatalFailure()) return;
  }
}

constexpr const char* kTestData = "FATHOM_TEST_DATA";
constexpr const char* kHome = "FATHOM_HOME";
constexpr auto kExact = config::Arithmetic::kExact;
constexpr auto kDeployed = config::Arithmetic::kDeployed;
constexpr auto kAuto = config::KvCacheDType::kAuto;
constexpr auto kFp8 = config::KvCacheDType::kF8E4M3;

INSTANTIATE_TEST_SUITE_P(
    Checkpoints,
    CudaModel,
    testing::Values(Case{"MicroExact", "micro-bf16", kTestData, kExact, kAuto, 512},
                    Case{"MicroDeployed", "micro-bf16", kTestData, kDeployed, kAuto, 512},
                    Case{"MicroFp8Cache", "micro-bf16", kTestData, kDeployed, kFp8, 512},
                    Case{"SlimExact", "slim-fp8", kTestData, kExact, kAuto, 512},
                    Case{"SlimDeployed", "slim-fp8", kTestData, kDeployed, kAuto, 512},
                    Case{"SlimFp8Cache", "slim-fp8", kTestData, kDeployed, kFp8, 512},
                    Case{"Tiny", "models/fathom-tiny", kHome, kDeployed, kAuto, 3072},
                    Case{"TinyFp8Cache", "models/fathom-tiny", kHome, kDeployed, kFp8, 3072}),
    [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace fathom::cuda
