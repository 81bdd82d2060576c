#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

#include "http/pending_budget.h"
#include "http/server.h"
#include "http/tls.h"

namespace fathom::http {

// What the parts of one server share. It outlives all of them.
struct ServerState {
  ServerOptions options;
  Handler handler;
  Server::ErrorBody error_body;

  std::atomic<std::size_t> connections{0};
  std::atomic<std::uint64_t> accepted{0};
  std::atomic<std::uint64_t> requests{0};
  std::atomic<std::size_t> unanswered{0};
  std::atomic<bool> draining{false};
  // Shared with answers, which may outlive the server.
  std::shared_ptr<PendingBudget> budget;

  // Connections between the first byte of a request and the last one of its answer.
  std::mutex mutex;
  std::condition_variable none_busy;
  std::size_t busy = 0;                   // under mutex
  std::shared_ptr<const TlsContext> tls;  // of new connections; null: plain; under mutex

  std::shared_ptr<const TlsContext> tls_now() {
    const std::lock_guard lock(mutex);
    return tls;
  }
  void begin_busy() {
    const std::lock_guard lock(mutex);
    ++busy;
  }
  void end_busy() {
    const std::lock_guard lock(mutex);
    if (--busy == 0) none_busy.notify_all();
  }
};

}  // namespace fathom::http
