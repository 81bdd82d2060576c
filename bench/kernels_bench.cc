// The CPU kernels one by one, beside the machine's limits measured in the same run.

#include <algorithm>
#include <cstring>
#include <iostream>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "backend/cpu/cpu_ops.h"
#include "base/thread_pool.h"
#include "bench/cases.h"
#include "bench/machine.h"

namespace fathom::bench {

namespace {

template <class T>
void fill(void* to, std::size_t count, const T& make) {
  // A period that is no multiple of a row keeps rows different and costs no time to make.
  constexpr std::size_t kPeriod = 4099;
  auto* numbers = static_cast<decltype(make(0U))*>(to);
  for (std::size_t i = 0; i < std::min(kPeriod, count); ++i) {
    const auto mixed = static_cast<std::uint32_t>(i * 2654435761U);
    numbers[i] = make(mixed >> 8);
  }
  for (std::size_t i = kPeriod; i < count; ++i) numbers[i] = numbers[i - kPeriod];
}

// In ±[0.5, 1.5).
float number_of(std::uint32_t random) {
  const float magnitude = 0.5F + static_cast<float>(random & 0xFFFFU) / 65536.0F;
  return (random & 0x10000U) != 0 ? -magnitude : magnitude;
}

}  // namespace

Operand::Operand(DType dtype, std::initializer_list<std::int64_t> shape)
    : device_(std::make_unique<cpu::CpuDevice>(1)), view_(nullptr, dtype, shape) {
  const auto count = static_cast<std::size_t>(view_.elements());
  buffer_ = device_->allocate(count * size_of(dtype)).value();
  view_.data = buffer_.data();
  switch (dtype) {
    case DType::kF32:
      fill(view_.data, count, number_of);
      break;
    case DType::kBF16:
      fill(view_.data, count, [](std::uint32_t r) { return to_bfloat16(number_of(r)); });
      break;
    case DType::kF8E4M3:
      fill(view_.data, count, [](std::uint32_t r) { return to_float8_e4m3(number_of(r)); });
      break;
    case DType::kU8:
      std::memset(view_.data, 0x38, count);
      break;
    default:
      break;
  }
}

void register_case(const std::string& name,
                   const Work& work,
                   std::function<void(cpu::CpuStream&)> body) {
  auto run = [work, body = std::move(body)](benchmark::State& state) {
    cpu::CpuStream stream(work.threads);
    body(stream);  // grows scratch memory and wakes the pages
    for (auto _ : state) body(stream);
    set_work(state, work);
  };
#ifndef __clang_analyzer__  // the library keeps what its header news; the analyzer sees a leak
  benchmark::RegisterBenchmark(name.c_str(), std::move(run))
      ->MeasureProcessCPUTime()
      ->UseRealTime();
#endif
}

namespace {

// Both limits of each number of threads that a case uses.
std::map<int, Limits> limits_of(const std::set<int>& threads) {
  std::map<int, Limits> limits;
  for (const int count : threads) limits[count] = measure_limits(count);
  return limits;
}

int run(int argc, char** argv) {
  // A table line is made of repetitions; flags of the caller come later and win.
  std::vector<std::string> flags = {argv[0], "--benchmark_repetitions=5",
                                    "--benchmark_min_time=0.05"};
  flags.insert(flags.end(), argv + 1, argv + argc);
  std::vector<char*> pointers;
  pointers.reserve(flags.size());
  for (std::string& flag : flags) pointers.push_back(flag.data());
  auto count = static_cast<int>(pointers.size());
  benchmark::Initialize(&count, pointers.data());

  const int threads = available_processors();
  const std::map<int, Limits> limits = limits_of({1, threads});
  std::cout << describe_machine()
            << "; rates are those of the best repetition,\n"
               "CPU is the least processor time of a repetition, all threads together\n";
  for (const auto& [used, limit] : limits) {
    std::cout << "limits with " << used << " threads: " << number(limit.read_bytes_per_s / 1e9, 1)
              << " GB/s read, " << number(limit.flops_per_s / 1e9, 1) << " GFLOP/s FMA\n";
  }
  std::cout << "\n";
  register_linear_cases(threads);
#ifdef FATHOM_OPENBLAS
  register_openblas_cases(threads);
#endif
  register_attention_cases(threads);
  register_row_cases(threads);
  register_sample_cases(threads);
  TableReporter reporter(limits);
  benchmark::RunSpecifiedBenchmarks(&reporter);
  benchmark::Shutdown();
  return 0;
}

}  // namespace
}  // namespace fathom::bench

int main(int argc, char** argv) { return fathom::bench::run(argc, argv); }
