#pragma once

#include <atomic>
#include <chrono>
#include <string>

#include "base/status.h"
#include "http/tls.h"

namespace fathom::app {

// Where the server itself is asked.
struct WarmUpTarget {
  std::string address;  // host:port as one connects to it
  bool secure = false;  // https
  http::TlsTrust trust = {};
  std::string api_key = {};  // empty: none is needed
};

// Sends the request that proves a start: four token ids to /generate. Succeeds when it is answered
// 200 in time. `cancel` ends the wait.
Status warm_up(const WarmUpTarget& target,
               std::chrono::milliseconds timeout,
               const std::atomic<bool>& cancel);

// Where a server that listens on `address` ("0.0.0.0:30000", "[::]:30000", "10.0.0.1:30000") can be
// reached from this machine.
std::string own_address(const std::string& address);

}  // namespace fathom::app
