#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "ops/op_set.h"
#include "tensor/device.h"

namespace fathom::cuda {

// A tensor that exists twice, in host memory and on the GPU, with the same bytes at first.
struct Twin {
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;
  std::vector<std::byte> host;
  Buffer device;

  TensorView view(void* data) const;
  std::int64_t elements() const;
  template <class T>
  std::span<T> as() {
    return {reinterpret_cast<T*>(host.data()), host.size() / sizeof(T)};
  }
};

// Both backends, and tensors of both.
class TwinTest : public testing::Test {
 protected:
  void SetUp() override;

  // Random bytes, or numbers of about unit size, or the given ones.
  Twin poisoned(DType dtype, std::vector<std::int64_t> shape);
  Twin normal(DType dtype, std::vector<std::int64_t> shape, float scale = 1);
  // Scales between 2^-8 and 2^-2, not all powers of two.
  Twin scales(std::vector<std::int64_t> shape);
  Twin integers(std::vector<std::int64_t> shape, const std::vector<std::int32_t>& values);
  // After `as` was written to.
  void upload(Twin& twin);

  // Calls `run(ops, stream, view)` for the CPU and then for the GPU; `view(twin)` is a twin's
  // memory there.
  template <class Run>
  void on_both(const Run& run) {
    run(*cpu_ops_, *cpu_stream_, [](Twin& twin) { return twin.view(twin.host.data()); });
    run(*gpu_ops_, *gpu_stream_, [](Twin& twin) { return twin.view(twin.device.data()); });
    const Status done = gpu_stream_->synchronize();
    ASSERT_TRUE(done.ok()) << done.message();
  }

  // The GPU's numbers of a float32 or bf16 twin.
  std::vector<float> device_numbers(const Twin& twin);

  // Calls `run` for the GPU alone; what the stream tells then.
  template <class Run>
  Status on_gpu(const Run& run) {
    run(*gpu_ops_, *gpu_stream_, [](Twin& twin) { return twin.view(twin.device.data()); });
    return gpu_stream_->synchronize();
  }

  // The bytes of both are the same; says where they are not.
  void expect_equal(const Twin& twin, const char* what);

  const ops::OpSet& gpu_ops() const { return *gpu_ops_; }

  std::mt19937 random_{20251125};

 private:
  static Device* gpu();

  std::unique_ptr<Device> cpu_;
  std::unique_ptr<ops::OpSet> cpu_ops_;
  std::unique_ptr<ops::OpSet> gpu_ops_;
  std::unique_ptr<Stream> cpu_stream_;
  std::unique_ptr<Stream> gpu_stream_;
};

}  // namespace fathom::cuda
