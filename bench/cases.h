#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>

#include <benchmark/benchmark.h>

#include "backend/cpu/cpu_device.h"
#include "bench/reporter.h"
#include "tensor/tensor_view.h"

// The families of benchmarks in kernels_bench, one file each.
namespace fathom::bench {

// A dense tensor with memory of its own.
class Operand {
 public:
  // Numbers of both signs around 1 (f32, bf16, e4m3), zeros (i32) or bytes 0x38 (u8).
  Operand(DType dtype, std::initializer_list<std::int64_t> shape);
  const TensorView& view() const { return view_; }
  template <class T>
  T* data() const {
    return static_cast<T*>(view_.data);
  }
  double bytes() const { return static_cast<double>(buffer_.bytes()); }

 private:
  std::unique_ptr<cpu::CpuDevice> device_;  // outlives the buffer wherever the operand moves
  Buffer buffer_;
  TensorView view_;
};

// Registers `body`, called once an iteration, with a stream of work.threads threads.
void register_case(const std::string& name,
                   const Work& work,
                   std::function<void(cpu::CpuStream&)> body);

void register_linear_cases(int threads);
void register_openblas_cases(int threads);  // only with FATHOM_OPENBLAS
void register_attention_cases(int threads);
void register_row_cases(int threads);
void register_sample_cases(int threads);

// One product's sizes, with enough matrices in turn that none is found in a cache.
inline constexpr std::int64_t kOut = 2048;
inline constexpr std::int64_t kIn = 7168;
inline constexpr std::int64_t kMatrixBytesInTurn = std::int64_t{176} << 20;
inline constexpr std::initializer_list<std::int64_t> kRowCounts = {1, 2, 4, 16, 64, 256};

}  // namespace fathom::bench
