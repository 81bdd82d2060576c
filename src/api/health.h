#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <vector>

#include "api/channel.h"
#include "api/registry.h"
#include "api/service.h"

namespace fathom::api {

// Clients that ask whether the engine still works. All of them wait for the next sign of life; a
// request for one token sees to it that there is one.
//
// Threads: any.
class HealthProbes {
 public:
  HealthProbes(Registry& registry, std::chrono::milliseconds timeout)
      : registry_(&registry), timeout_(timeout) {}

  // Answers 200 at the next sign of life, 503 when there is none in time or no engine. Without a
  // timer it waits for as long as it takes.
  void ask(Channel channel, const Service::Timer& timer);

  // The engine has said something.
  void sign_of_life();

 private:
  struct Waiting {
    std::uint64_t id = 0;
    Channel channel;
  };

  void expire(std::uint64_t id);
  // The channel of the client `id`, when it still waits.
  std::vector<Waiting> take(std::uint64_t id);

  Registry* registry_;
  std::chrono::milliseconds timeout_;

  std::mutex mutex_;
  std::uint64_t next_id_ = 1;
  std::vector<Waiting> waiting_;
};

}  // namespace fathom::api
