#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "http/message.h"
#include "http/server.h"

namespace fathom::http {

// Long enough for any machine: a test that waits so long has failed.
constexpr std::chrono::seconds kPatience{60};

// Asks `condition` again and again until it holds; false after kPatience.
bool eventually(const std::function<bool()>& condition);

// A socket that speaks whatever bytes it is told to.
class RawClient {
 public:
  // `receive_buffer_bytes`: 0 leaves the system's.
  explicit RawClient(std::uint16_t port, int receive_buffer_bytes = 0);
  ~RawClient();
  RawClient(RawClient&& other) noexcept;
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  // False when the peer has closed.
  bool send(std::string_view bytes);
  void end_sending();
  void close();
  // With a reset instead of an orderly end.
  void abort();

  // The next whole answer; status 0 when the peer closed before or sent no HTTP.
  Response receive(bool head_only = false);
  // Every byte until there are `count`, or `marker` has come; fewer when the peer closed.
  std::string receive_bytes(std::size_t count);
  std::string receive_until(std::string_view marker);
  // Until the peer closes.
  std::string receive_rest();
  bool connected() const { return handle_ >= 0; }
  int handle() const { return handle_; }

 private:
  bool receive_some();

  int handle_ = -1;
  std::string input_;
};

// A server whose requests wait until the test takes them, but for "/echo", which answers with the
// request's body, and "/hello".
class TestServer {
 public:
  explicit TestServer(const ServerOptions& options = {}, bool started = true);
  ~TestServer();
  TestServer(const TestServer&) = delete;
  TestServer& operator=(const TestServer&) = delete;

  struct Call {
    Request request;
    std::shared_ptr<Exchange> exchange;
  };
  // Waits for the next one.
  Call take();

  Server& operator*() { return *server_; }
  Server* operator->() { return server_.get(); }
  std::uint16_t port() const { return server_->port(); }
  std::size_t handled() const;
  // Ends the server's life, not that of the calls taken from it.
  void destroy() { server_.reset(); }

 private:
  void handle(Request request, std::shared_ptr<Exchange> exchange);

  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Call> calls_;
  std::size_t handled_ = 0;
  std::unique_ptr<Server> server_;  // last: its threads use the rest
};

// "GET /path HTTP/1.1" with what is needed beside it.
std::string get(std::string_view path, std::string_view more_headers = "");
std::string post(std::string_view path, std::string_view body, std::string_view more_headers = "");

Response ok(std::string body);

}  // namespace fathom::http
