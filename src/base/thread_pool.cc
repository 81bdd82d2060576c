#include "base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <fstream>
#include <mutex>
#include <sched.h>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"

namespace fathom {

namespace {

// One loop: iterations are claimed from `next` in pieces of `grain`.
struct Loop {
  const FunctionRef<void(std::size_t, std::size_t, int)>* body = nullptr;
  std::size_t count = 0;
  std::size_t grain = 1;
};

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Looks for news for a short time before its thread sleeps. A step's operations follow each other
// closely, and waking a sleeper costs more than the wait. Looking pays only while the other threads
// run at the same time: where the processors are busy with other work it fails each time, so after
// every failure in a row the next 2, 4, 8 … 256 times are skipped.
class Patience {
 public:
  // `patient` is false where there are more threads than processors.
  explicit Patience(bool patient) : patient_(patient) {}

  // Whether `happened` came true.
  template <class Happened>
  bool look(const Happened& happened) {
    if (happened()) return true;
    if (!patient_) return false;
    if (skip_ > 0) {
      --skip_;
      return false;
    }
    const auto end = std::chrono::steady_clock::now() + kAtMost;
    do {
      for (int i = 0; i < 32; ++i) {
        pause();
        if (happened()) {
          failures_ = 0;
          return true;
        }
      }
    } while (std::chrono::steady_clock::now() < end);
    failures_ = std::min(failures_ + 1, 8);
    skip_ = 1 << failures_;
    return false;
  }

 private:
  static constexpr std::chrono::microseconds kAtMost{50};
  bool patient_;
  int failures_ = 0;
  int skip_ = 0;
};

}  // namespace

struct ThreadPool::State {
  static constexpr unsigned kClosed = 1U << 31;

  std::mutex mutex;
  std::condition_variable wake;  // a new loop, or stop
  std::condition_variable done;  // the last worker left the loop
  Loop loop;                     // changes while the loop is closed and no worker inside
  std::atomic<std::uint64_t> generation{0};  // counts loops; changes under mutex
  // Workers inside the loop, and kClosed when it takes no more: a worker that gets no processor
  // before the work is over is not waited for.
  std::atomic<unsigned> inside{kClosed};
  std::atomic<bool> stop{false};  // changes under mutex
  std::atomic<std::size_t> next{0};
  bool patient = false;
  Patience caller{false};
  std::vector<std::thread> workers;

  void run(const Loop& current, int worker) {
    for (;;) {
      const std::size_t begin = next.fetch_add(current.grain, std::memory_order_relaxed);
      if (begin >= current.count) return;
      (*current.body)(begin, std::min(begin + current.grain, current.count), worker);
    }
  }

  // False when the loop is closed.
  bool enter() {
    unsigned now = inside.load();
    while ((now & kClosed) == 0) {
      if (inside.compare_exchange_weak(now, now + 1)) return true;
    }
    return false;
  }

  void leave() {
    if (inside.fetch_sub(1) != kClosed + 1) return;
    // Under the lock, or a caller that is about to wait would miss it.
    const std::lock_guard lock(mutex);
    done.notify_one();
  }

  void work(int worker) {
    std::uint64_t seen = 0;
    Patience patience(patient);
    const auto called = [&] { return stop.load() || generation.load() != seen; };
    for (;;) {
      if (!patience.look(called)) {
        std::unique_lock lock(mutex);
        wake.wait(lock, called);
      }
      if (stop.load()) return;
      seen = generation.load();
      if (!enter()) continue;  // the loop may be a later one than `seen`
      run(loop, worker);
      leave();
    }
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  FATHOM_CHECK(threads >= 1);
  state_->patient = threads <= available_processors();
  state_->caller = Patience(state_->patient);
  state_->workers.reserve(static_cast<std::size_t>(threads - 1));
  for (int worker = 1; worker < threads; ++worker) {
    state_->workers.emplace_back([state = state_.get(), worker] { state->work(worker); });
  }
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->wake.notify_all();
  for (std::thread& worker : state_->workers) worker.join();
}

int ThreadPool::threads() const { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::parallel_for(std::size_t count,
                              std::size_t grain,
                              FunctionRef<void(std::size_t, std::size_t, int)> body) {
  FATHOM_CHECK(grain >= 1);
  if (count == 0) return;
  if (state_->workers.empty() || count <= grain) {
    body(0, count, 0);
    return;
  }
  const Loop loop{&body, count, grain};
  state_->loop = loop;
  state_->next.store(0, std::memory_order_relaxed);
  state_->inside = 0;
  {
    const std::lock_guard lock(state_->mutex);
    ++state_->generation;
  }
  state_->wake.notify_all();
  state_->run(loop, 0);
  if (state_->inside.fetch_or(State::kClosed) == 0) return;
  const auto finished = [&] { return state_->inside.load() == State::kClosed; };
  if (state_->caller.look(finished)) return;
  std::unique_lock lock(state_->mutex);
  state_->done.wait(lock, finished);
}

int available_processors() {
  int processors = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) processors = std::max(1, CPU_COUNT(&set));
  // cgroup v2: "quota period", both in microseconds, or "max period" for no limit.
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (file >> quota >> period && quota != "max" && period > 0) {
    char* end = nullptr;
    const double allowed = std::ceil(std::strtod(quota.c_str(), &end) / period);
    if (allowed >= 1) processors = std::min(processors, static_cast<int>(allowed));
  }
  return processors;
}

}  // namespace fathom
