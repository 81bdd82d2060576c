#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "base/status.h"
#include "config/instance_plan.h"

namespace fathom::app {

// One node of an instance with one rank: HTTP in front, the engine behind, the link between them.
//
// From start() on every request is answered: with 503 until the model lies in memory, by the engine
// afterwards. /health says 503 until the warm-up has succeeded.
//
// Threads: the main thread alone.
class Instance {
 public:
  // Takes the address that the plan names. A failure says why it could not be had.
  static Result<std::unique_ptr<Instance>> create(const config::InstancePlan& plan,
                                                  const std::string& server_arguments);
  ~Instance();  // stop()
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  // Begins to answer, to load and then to serve, on threads of its own.
  void start();

  // Can be read from as soon as failure() is set.
  int failure_fd() const;
  // Why loading, the warm-up or the engine failed; ok while none has.
  Status failure() const;
  // Whether the model is being loaded, which nothing can interrupt.
  bool loading() const;

  // New requests are refused with 503 from now on.
  void refuse_requests();
  std::size_t unfinished() const;
  void abort_requests();

  // Lets answers that are on their way reach their peers for a few seconds, then ends everything.
  // Requires !loading().
  void stop();

 private:
  struct State;
  explicit Instance(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fathom::app
