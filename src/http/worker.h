#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "http/server_state.h"

namespace boost::asio {
class io_context;
}

namespace fathom::http {

// An open connection, as its worker sees it. All members run on the worker's thread.
class Connection {
 public:
  virtual ~Connection() = default;
  virtual void start() = 0;
  // Does what a deadline that has passed asks for.
  virtual void check(std::int64_t now_ns) = 0;
  // Closes it if no request has begun.
  virtual void close_if_idle() = 0;
  virtual void close() = 0;
};

// One thread with its event loop, and the connections that live on it.
//
// Threads: the members of the first group are safe from any; the others belong to the worker's
// thread. The worker outlives its connections.
class Worker {
 public:
  explicit Worker(ServerState& state);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void start();
  void post(std::function<void()> work);
  void post_after(std::chrono::milliseconds delay, std::function<void()> work);
  void close_idle();
  // Closes all connections and forgets all timers; join() returns when they have ended.
  void stop();
  void join();
  bool on_own_thread() const;
  boost::asio::io_context& context();
  ServerState& state() const { return state_; }

  // Takes an accepted socket; closes it at once when the worker is stopping.
  void serve(int socket, std::string peer);
  // The connection has ended.
  void remove(Connection* connection);
  // The value of a Date header, now.
  std::string_view date();

 private:
  struct Loop;

  void run();
  void arm_sweep();
  void sweep();

  ServerState& state_;
  std::unique_ptr<Loop> loop_;
};

}  // namespace fathom::http
