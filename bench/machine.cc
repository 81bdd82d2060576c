#include "bench/machine.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <vector>

#include "base/thread_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "bench/machine.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace fathom::bench::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// Eight independent sums hide the addition's latency.
std::uint64_t sum_words(const std::uint64_t* from, std::size_t words) {
  const hn::ScalableTag<std::uint64_t> d;
  const std::size_t lanes = hn::Lanes(d);
  auto s0 = hn::Zero(d);
  auto s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
  for (std::size_t i = 0; i + 8 * lanes <= words; i += 8 * lanes) {
    s0 = hn::Add(s0, hn::Load(d, from + i));
    s1 = hn::Add(s1, hn::Load(d, from + i + lanes));
    s2 = hn::Add(s2, hn::Load(d, from + i + 2 * lanes));
    s3 = hn::Add(s3, hn::Load(d, from + i + 3 * lanes));
    s4 = hn::Add(s4, hn::Load(d, from + i + 4 * lanes));
    s5 = hn::Add(s5, hn::Load(d, from + i + 5 * lanes));
    s6 = hn::Add(s6, hn::Load(d, from + i + 6 * lanes));
    s7 = hn::Add(s7, hn::Load(d, from + i + 7 * lanes));
  }
  const auto sum =
      hn::Add(hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)), hn::Add(hn::Add(s4, s5), hn::Add(s6, s7)));
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

// Twelve chains of multiply-adds: two a cycle at four to six cycles each keep all units busy.
// Returns the operations done; `sink` keeps them from being dropped.
double multiply_add(std::int64_t rounds, float* sink) {
  const hn::ScalableTag<float> d;
  const auto a = hn::Set(d, 0.999F);
  const auto b = hn::Set(d, 0.001F);
  auto s0 = hn::Set(d, 0.1F);
  auto s1 = hn::Set(d, 0.2F), s2 = hn::Set(d, 0.3F), s3 = hn::Set(d, 0.4F), s4 = hn::Set(d, 0.5F);
  auto s5 = hn::Set(d, 0.6F), s6 = hn::Set(d, 0.7F), s7 = hn::Set(d, 0.8F), s8 = hn::Set(d, 0.9F);
  auto s9 = hn::Set(d, 1.0F), s10 = hn::Set(d, 1.1F), s11 = hn::Set(d, 1.2F);
  for (std::int64_t i = 0; i < rounds; ++i) {
    s0 = hn::MulAdd(s0, a, b);
    s1 = hn::MulAdd(s1, a, b);
    s2 = hn::MulAdd(s2, a, b);
    s3 = hn::MulAdd(s3, a, b);
    s4 = hn::MulAdd(s4, a, b);
    s5 = hn::MulAdd(s5, a, b);
    s6 = hn::MulAdd(s6, a, b);
    s7 = hn::MulAdd(s7, a, b);
    s8 = hn::MulAdd(s8, a, b);
    s9 = hn::MulAdd(s9, a, b);
    s10 = hn::MulAdd(s10, a, b);
    s11 = hn::MulAdd(s11, a, b);
  }
  const auto sum = hn::Add(hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)),
                           hn::Add(hn::Add(hn::Add(s4, s5), hn::Add(s6, s7)),
                                   hn::Add(hn::Add(s8, s9), hn::Add(s10, s11))));
  *sink = hn::GetLane(hn::SumOfLanes(d, sum));
  return static_cast<double>(rounds) * 12 * 2 * static_cast<double>(hn::Lanes(d));
}

}  // namespace
}  // namespace fathom::bench::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::bench {

HWY_EXPORT(sum_words);
HWY_EXPORT(multiply_add);

namespace {

// Tries of a few milliseconds each: on a machine with other work some are undisturbed.
constexpr std::size_t kTries = 40;
constexpr std::size_t kTryWords = std::size_t{8} << 20;    // 64 MiB, other ones in the next try
constexpr std::size_t kPieceWords = std::size_t{1} << 16;  // 512 KiB, handed out one by one
constexpr std::int64_t kRounds = 50'000;
constexpr std::size_t kRoundPieces = 32;

double read_bandwidth(ThreadPool& pool, std::size_t buffer_bytes) {
  const std::size_t pieces = std::max<std::size_t>(buffer_bytes / 8 / kPieceWords, 1);
  // Written, so that every page is there.
  std::vector<std::uint64_t> words(pieces * kPieceWords + 64, 1);
  const std::size_t skip = 8 - (reinterpret_cast<std::uintptr_t>(words.data()) / 8) % 8;
  std::atomic<std::uint64_t> total{0};
  double best = 0;
  for (std::size_t i = 0; i < kTries; ++i) {
    const std::size_t first = i * (kTryWords / kPieceWords);
    const double start = now_s();
    pool.parallel_for(kTryWords / kPieceWords, 1, [&](std::size_t begin, std::size_t end, int) {
      for (std::size_t piece = first + begin; piece < first + end; ++piece) {
        const std::uint64_t* from = words.data() + skip + piece % pieces * kPieceWords;
        total += HWY_DYNAMIC_DISPATCH(sum_words)(from, kPieceWords);
      }
    });
    best = std::max(best, static_cast<double>(kTryWords) * 8 / (now_s() - start));
  }
  return total == 0 ? 0 : best;
}

double multiply_add_rate(ThreadPool& pool) {
  double best = 0;
  for (std::size_t i = 0; i < kTries; ++i) {
    std::atomic<double> operations{0};
    const double start = now_s();
    pool.parallel_for(kRoundPieces, 1, [&](std::size_t begin, std::size_t end, int) {
      for (std::size_t piece = begin; piece < end; ++piece) {
        float sink = 0;
        operations += HWY_DYNAMIC_DISPATCH(multiply_add)(kRounds, &sink);
      }
    });
    best = std::max(best, operations / (now_s() - start));
  }
  return best;
}

}  // namespace

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Limits measure_limits(int threads, std::size_t buffer_bytes) {
  ThreadPool pool(threads);
  return {read_bandwidth(pool, buffer_bytes), multiply_add_rate(pool)};
}

std::string describe_machine() {
  std::string model = "unknown processor";
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("model name", 0) != 0) continue;
    model = line.substr(line.find(':') + 2);
    break;
  }
  return std::to_string(available_processors()) + " processors, " + model;
}

}  // namespace fathom::bench
#endif  // HWY_ONCE
