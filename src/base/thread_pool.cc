#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <fstream>
#include <mutex>
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

}  // namespace

struct ThreadPool::State {
  std::mutex mutex;
  std::condition_variable wake;  // a new loop, or stop
  std::condition_variable done;  // the last worker left the loop
  Loop loop;                     // guarded by mutex; stable while working > 0
  std::uint64_t generation = 0;  // guarded by mutex; counts loops
  int working = 0;               // guarded by mutex; workers still inside the loop
  bool stop = false;             // guarded by mutex
  std::atomic<std::size_t> next{0};
  std::vector<std::thread> workers;

  void run(const Loop& current, int worker) {
    for (;;) {
      const std::size_t begin = next.fetch_add(current.grain, std::memory_order_relaxed);
      if (begin >= current.count) return;
      (*current.body)(begin, std::min(begin + current.grain, current.count), worker);
    }
  }

  void work(int worker) {
    std::uint64_t seen = 0;
    for (;;) {
      Loop current;
      {
        std::unique_lock lock(mutex);
        wake.wait(lock, [&] { return stop || generation != seen; });
        if (stop) return;
        seen = generation;
        current = loop;
      }
      run(current, worker);
      {
        const std::lock_guard lock(mutex);
        if (--working == 0) done.notify_one();
      }
    }
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  FATHOM_CHECK(threads >= 1);
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

void ThreadPool::parallel_for(std::size_t count, std::size_t grain,
                              FunctionRef<void(std::size_t, std::size_t, int)> body) {
  FATHOM_CHECK(grain >= 1);
  if (count == 0) return;
  if (state_->workers.empty() || count <= grain) {
    body(0, count, 0);
    return;
  }
  const Loop loop{&body, count, grain};
  {
    const std::lock_guard lock(state_->mutex);
    state_->loop = loop;
    state_->next.store(0, std::memory_order_relaxed);
    state_->working = static_cast<int>(state_->workers.size());
    ++state_->generation;
  }
  state_->wake.notify_all();
  state_->run(loop, 0);
  std::unique_lock lock(state_->mutex);
  state_->done.wait(lock, [&] { return state_->working == 0; });
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
