#pragma once

#include <cstddef>
#include <memory>

#include "base/function_ref.h"

namespace fathom {

// A fixed number of threads that run the iterations of one loop at a time.
//
// Every computation here gives the same bits whatever the thread count, so the pool may hand out
// iterations in any order; a body must therefore write only what its own range owns.
//
// Threads: parallel_for() may be called from one thread at a time (the owner of a Stream); the body
// must not call back into the same pool.
class ThreadPool {
 public:
  // `threads` counts the calling thread, which works too: 1 starts no thread. Requires 1 or more.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;

  // Calls body(begin, end, worker) for disjoint ranges that cover [0, count) and returns when all
  // are done. `grain` is the largest range handed out at once (>= 1). `worker` is in
  // [0, threads()) and no two bodies run with the same worker at a time, so it may index
  // per-worker scratch. Nothing is allocated. The body must not throw.
  void parallel_for(std::size_t count,
                    std::size_t grain,
                    FunctionRef<void(std::size_t, std::size_t, int)> body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Processors this process may run on (affinity and cgroup quota considered), at least 1.
int available_processors();

}  // namespace fathom
