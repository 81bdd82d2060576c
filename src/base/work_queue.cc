#include "base/work_queue.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"

namespace fathom {

struct WorkQueue::State {
  struct Piece {
    std::function<void()> work;
    std::size_t weight = 0;
  };

  std::size_t max_waiting = 1;
  std::size_t max_waiting_weight = 0;

  mutable std::mutex mutex;
  std::condition_variable changed;
  std::deque<Piece> waiting;
  std::size_t waiting_weight = 0;
  bool stopped = false;

  std::vector<std::thread> threads;

  void serve() {
    std::unique_lock lock(mutex);
    while (true) {
      changed.wait(lock, [&] { return stopped || !waiting.empty(); });
      if (stopped) return;
      Piece piece = std::move(waiting.front());
      waiting.pop_front();
      waiting_weight -= piece.weight;
      lock.unlock();
      piece.work();
      piece.work = nullptr;  // what it holds goes without the lock
      lock.lock();
    }
  }
};

WorkQueue::WorkQueue(int threads, std::size_t max_waiting, std::size_t max_waiting_weight)
    : state_(std::make_unique<State>()) {
  FATHOM_CHECK(threads >= 1 && max_waiting >= 1);
  state_->max_waiting = max_waiting;
  state_->max_waiting_weight = max_waiting_weight;
  for (int i = 0; i < threads; ++i)
    state_->threads.emplace_back([s = state_.get()] { s->serve(); });
}

WorkQueue::~WorkQueue() { stop(); }

bool WorkQueue::post(std::function<void()> work, std::size_t weight) {
  {
    const std::lock_guard lock(state_->mutex);
    const bool full = state_->waiting.size() >= state_->max_waiting;
    const std::size_t room = state_->max_waiting_weight - state_->waiting_weight;
    const bool too_heavy = state_->waiting_weight > state_->max_waiting_weight || weight > room;
    if (state_->stopped || full || (too_heavy && !state_->waiting.empty())) return false;
    state_->waiting.push_back({std::move(work), weight});
    state_->waiting_weight += weight;
  }
  state_->changed.notify_one();
  return true;
}

std::size_t WorkQueue::waiting() const {
  const std::lock_guard lock(state_->mutex);
  return state_->waiting.size();
}

void WorkQueue::stop() {
  std::deque<State::Piece> dropped;
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopped = true;
    dropped.swap(state_->waiting);
    state_->waiting_weight = 0;
  }
  state_->changed.notify_all();
  dropped.clear();  // what it holds goes without the lock
  for (std::thread& thread : state_->threads) {
    if (thread.joinable()) thread.join();
  }
}

}  // namespace fathom
