// The whole model on the GPU against the CPU, bit by bit. The folder with the test checkpoints and
// the bundled model's are named by $FATHOM_TEST_DATA and $FATHOM_HOME, as on a machine that has
// only them.

#include <array>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backend/cpu/cpu_ops.h"
#include "backend/cuda/cuda_device.h"
#include "backend/cuda/cuda_ops.h"
#include "backend/cuda/fast_products.h"
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
// both, one of them padded, and the draft layer behind every step.
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
  const std::vector<std::vector<ModelRunner::Piece>> steps{
      {{0, 0, ids(130)}, {1, 0, ids(70)}},
      {{0, 130, ids(200)}},
      {{0, 330, ids(63)}, {1, 70, ids(1)}},
      {{0, 393, ids(1)}, {1, 71, ids(1)}},
      {{1, 72, ids(1)}},
      {{0, 394, ids(1)}},
      {{0, 395, ids(1)}, {0, -1, ids(1)}, {1, 73, ids(2)}, {0, -1, ids(4)}}};
  for (const auto& step : steps) {
    const ModelRunner::Step on_cpu = cpu.forward(step);
    const ModelRunner::Step on_gpu = gpu.forward(step);
    expect_equal(on_cpu, on_gpu, "main model");
    if (HasFatalFailure()) return;
    expect_equal(cpu.draft(step, on_cpu.hidden), gpu.draft(step, on_gpu.hidden), "draft layer");
    if (HasFatalFailure()) return;
  }
}

constexpr auto kExact = config::Arithmetic::kExact;
constexpr auto kDeployed = config::Arithmetic::kDeployed;
constexpr auto kAuto = config::KvCacheDType::kAuto;
constexpr auto kFp8 = config::KvCacheDType::kF8E4M3;

// The choices of a step on the CPU, by layer.
class Choices final : public model::Probe {
 public:
  struct Layer {
    std::vector<std::int32_t> selected;  // [tokens, width]
    std::vector<std::int32_t> count;     // [tokens]
    std::vector<std::int32_t> experts;   // [tokens, chosen]
    std::int64_t width = 0;
    std::int64_t chosen = 0;
  };

  void residual(std::int32_t /*layer*/, const TensorView& /*hidden*/) override {}
  void selection(std::int32_t layer,
                 std::int64_t /*first_row*/,
                 const TensorView& selected,
                 const TensorView& count,
                 const TensorView& /*scores*/) override {
    Layer& to = layers[layer];
    to.width = append(selected, to.selected);
    const auto* counts = count.row<const std::int32_t>(0);
    to.count.insert(to.count.end(), counts, counts + count.shape[0]);
  }
  void experts(std::int32_t layer,
               const TensorView& experts,
               const TensorView& /*weights*/) override {
    layers[layer].chosen = append(experts, layers[layer].experts);
  }

  std::map<std::int32_t, Layer> layers;

 private:
  static std::int64_t append(const TensorView& rows, std::vector<std::int32_t>& to) {
    for (std::int64_t t = 0; t < rows.shape[0]; ++t) {
      const auto* row = rows.row<const std::int32_t>(t);
      to.insert(to.end(), row, row + rows.shape[1]);
    }
    return rows.shape[1];
  }
};

// These choices, in the memory of a device.
class Replayed final : public model::Replay {
 public:
  Replayed(const Choices& choices, Device& device) {
    const auto stream = device.create_stream();
    const auto place = [&](const std::vector<std::int32_t>& numbers, std::int64_t width) {
      if (numbers.empty()) return TensorView();
      const std::size_t bytes = numbers.size() * sizeof(std::int32_t);
      buffers_.push_back(device.allocate(bytes).value());
      device.copy_to_device(*stream, buffers_.back().data(), numbers.data(), bytes);
      EXPECT_TRUE(stream->synchronize().ok());
      const auto count = static_cast<std::int64_t>(numbers.size());
      TensorView view(buffers_.back().data(), DType::kI32, {count});
      return width == 0 ? view : view.reshape({count / width, width});
    };
    for (const auto& [layer, choice] : choices.layers) {
      placed_[layer] = {place(choice.selected, choice.width), place(choice.count, 0),
                        place(choice.experts, choice.chosen)};
    }
  }
  TensorView selected(std::int32_t layer) override { return placed_[layer][0]; }
  TensorView count(std::int32_t layer) override { return placed_[layer][1]; }
  TensorView experts(std::int32_t layer) override { return placed_[layer][2]; }

 private:
  std::map<std::int32_t, std::array<TensorView, 3>> placed_;
  std::vector<Buffer> buffers_;
};

using Logits = std::vector<std::vector<float>>;

double root_mean_square(const Logits& a, const Logits& b) {
  double sum = 0;
  double count = 0;
  for (std::size_t row = 0; row < a.size(); ++row) {
    for (std::size_t i = 0; i < a[row].size(); ++i) {
      const double apart = static_cast<double>(a[row][i]) - static_cast<double>(b[row][i]);
      sum += apart * apart;
      ++count;
    }
  }
  return std::sqrt(sum / count);
}

class CudaFastModel : public testing::TestWithParam<Case> {};

// The products of cuBLASLt add the same terms in another order. A sum moves by far less than its
// rounding to bf16 does, but where it crosses a rounding the difference is a whole step; the next
// products spread it, more sums cross, and after some layers the two runs round as if each drew its
// roundings by itself. So under equal choices they are apart by no more than two such draws, which
// is the square root of two times what one is apart from exact arithmetic; the latter is held to
// its derivation by tests/oracle/deployed_test.cc.
TEST_P(CudaFastModel, IsNoFurtherFromDeployedThanTwoDrawsOfItsRoundings) {
  auto memory = CudaDevice::open(0);
  if (!memory.ok()) GTEST_SKIP() << memory.status().message();
  const std::string root = environment(GetParam().variable);
  ASSERT_NE(root, "") << "set " << GetParam().variable;
  const std::string folder = root + "/" + GetParam().folder;
  RunnerOptions options;
  options.kv_cache_dtype = GetParam().kv_cache_dtype;
  options.threads = 8;
  options.max_tokens = 300;
  options.max_positions = 1024;
  options.pages = 40;
  ModelRunner exact(folder, [&] {
    RunnerOptions of_exact = options;
    of_exact.arithmetic = kExact;
    of_exact.kv_cache_dtype = kAuto;
    return of_exact;
  }());
  options.arithmetic = kDeployed;
  ModelRunner cpu(folder, options);
  std::shared_ptr<FastProducts> products = FastProducts::open().value();
  ModelRunner gpu(folder, options, CudaDevice::open(0).value(), make_cuda_ops(products));
  ModelRunner free_running(folder, options, CudaDevice::open(0).value(), make_cuda_ops(products));

  std::mt19937 random(11);
  std::vector<std::int32_t> ids(300);
  for (std::int32_t& id : ids) {
    id = static_cast<std::int32_t>(random() % static_cast<std::uint32_t>(GetParam().vocab));
  }
  const ModelRunner::Piece piece{0, 0, ids};
  for (ModelRunner* runner : {&exact, &cpu, &gpu, &free_running}) runner->add_sequence();
  Choices choices;
  const Logits of_exact = exact.forward({&piece, 1}, &choices).logits;
  cpu::CpuDevice host(1);
  Replayed on_host(choices, host);
  const Logits of_cpu = cpu.forward({&piece, 1}, nullptr, &on_host).logits;
  Replayed on_device(choices, **memory);
  const Logits of_gpu = gpu.forward({&piece, 1}, nullptr, &on_device).logits;

  const double formats = root_mean_square(of_exact, of_cpu);
  const double order = root_mean_square(of_cpu, of_gpu);
  EXPECT_LE(order, std::sqrt(2.0) * formats);
  EXPECT_GT(order, 0) << "the canonical kernels ran";
  const Logits alone = free_running.forward({&piece, 1}).logits;
  int equal = 0;
  for (std::size_t row = 0; row < alone.size(); ++row) {
    equal += test_support::argmax(alone[row]) == test_support::argmax(of_cpu[row]) ? 1 : 0;
  }
  std::cout << "root mean square of logits: " << formats << " between exact and deployed, " << order
            << " between the CPU's deployed and the GPU's; of " << alone.size()
            << " first choices, free-running, " << equal << " are the CPU's\n";
}

constexpr const char* kTestData = "FATHOM_TEST_DATA";
constexpr const char* kHome = "FATHOM_HOME";

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

INSTANTIATE_TEST_SUITE_P(
    Checkpoints,
    CudaFastModel,
    testing::Values(Case{"Micro", "micro-bf16", kTestData, kDeployed, kAuto, 512},
                    Case{"Slim", "slim-fp8", kTestData, kDeployed, kAuto, 512},
                    Case{"SlimFp8Cache", "slim-fp8", kTestData, kDeployed, kFp8, 512},
                    Case{"Tiny", "models/fathom-tiny", kHome, kDeployed, kAuto, 3072}),
    [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace fathom::cuda
