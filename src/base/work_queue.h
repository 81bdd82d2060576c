#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace fathom {

// A fixed number of threads that run pieces of work in the order in which they came, each on
// whichever thread is free. Bounded: what cannot wait in it is refused, so that a flood of work
// shows at its source.
//
// Threads: any. Work may post more work, but must not stop the queue.
class WorkQueue {
 public:
  // At most `max_waiting` pieces wait for a thread, with at most `max_waiting_weight` of weight
  // together; a piece that is heavier than that alone is taken when nothing else waits. Requires
  // threads >= 1 and max_waiting >= 1.
  WorkQueue(int threads, std::size_t max_waiting, std::size_t max_waiting_weight);
  ~WorkQueue();  // stop()
  WorkQueue(const WorkQueue&) = delete;
  WorkQueue& operator=(const WorkQueue&) = delete;

  // False when it is full or stopped; `work` is gone then. `weight` is in a unit of the caller's,
  // such as bytes. The work must not throw.
  bool post(std::function<void()> work, std::size_t weight = 0);

  std::size_t waiting() const;

  // Waits for the work that runs and drops what waits.
  void stop();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fathom
