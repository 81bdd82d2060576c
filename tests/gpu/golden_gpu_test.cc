// The recorded outputs of an independent implementation, on the GPU in exact arithmetic, with the
// bounds of the data's pages (oracle/golden_check.h). No command computes so on a GPU; it
// shows that nothing of the backend but its formats stands between the two. $FATHOM_TEST_DATA and
// $FATHOM_HOME name the folders of the checkpoints and of models/.

#include <cstdlib>

#include <gtest/gtest.h>

#include "backend/cuda/cuda_device.h"
#include "backend/cuda/cuda_ops.h"
#include "oracle/golden_check.h"

namespace fathom::gpu_test {
namespace {

class GpuGolden : public testing::Test {
 protected:
  void SetUp() override {
    if (auto device = cuda::CudaDevice::open(0); !device.ok()) {
      GTEST_SKIP() << device.status().message();
    }
  }

  static std::filesystem::path folder(const char* variable, const char* below) {
    const char* const root = std::getenv(variable);  // NOLINT(concurrency-mt-unsafe)
    EXPECT_NE(root, nullptr) << "set " << variable;
    return std::filesystem::path(root == nullptr ? "" : root) / below;
  }

  static test_support::RunnerOptions on_gpu() {
    test_support::RunnerOptions options;
    options.make_device = [] { return cuda::CudaDevice::open(0).value(); };
    options.make_ops = [] { return cuda::make_cuda_ops(); };
    options.max_tokens = 1536;
    return options;
  }
};

TEST_F(GpuGolden, MicroBf16EqualsTheReference) {
  oracle::expect_golden(
      oracle::check_prompts(folder("FATHOM_TEST_DATA", "micro-bf16"), {7, 40, 90}, on_gpu()));
}

TEST_F(GpuGolden, SlimFp8EqualsTheReference) {
  oracle::expect_golden(
      oracle::check_prompts(folder("FATHOM_TEST_DATA", "slim-fp8"), {9, 64, 150}, on_gpu()));
}

TEST_F(GpuGolden, TheExpandedFormEqualsTheReferenceToo) {
  test_support::RunnerOptions options = on_gpu();
  options.attention_form = config::AttentionForm::kExpanded;
  oracle::expect_golden(
      oracle::check_prompts(folder("FATHOM_TEST_DATA", "slim-fp8"), {9, 64, 150}, options));
}

TEST_F(GpuGolden, FathomTinyEqualsTheReference) {
  oracle::expect_golden(oracle::check_tiny(folder("FATHOM_HOME", "models/fathom-tiny"),
                                           {0, 1, 2, 3, 4, 5}, on_gpu()));
}

}  // namespace
}  // namespace fathom::gpu_test
