#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string_view>

#include "base/status.h"
#include "http/message.h"
#include "http/tls.h"
#include "http/url.h"

namespace fathom::http {

struct ClientOptions {
  std::chrono::milliseconds connect_timeout{5000};
  std::chrono::milliseconds read_timeout{600000};  // without a byte from the peer, or taken by it
  // When set by another thread or a signal handler, whatever waits ends within a tenth of a second
  // with kCancelled. Outlives the client.
  const std::atomic<bool>* cancel = nullptr;
  std::size_t max_body_bytes = std::size_t{1} << 30;  // of an answer that send() collects
  TlsTrust trust = {};                                // of https
};

// Requests over one kept connection, one at a time; connects when needed and again when the peer
// closed it in between. Blocking.
//
// Threads: one at a time.
class Client {
 public:
  explicit Client(Url url, const ClientOptions& options = {});
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Sends method, target (or path and query when it is empty; both behind the URL's path), headers
  // and body of `request`; Host and Content-Length are the client's business.
  //
  // kUnavailable when the peer cannot be reached or believed, breaks off or answers what is no
  // HTTP; kDeadlineExceeded after a timeout; kCancelled. The connection is closed then. An answer
  // with any status is a success.
  Result<Response> send(const Request& request);

  // The same with the body handed out piece by piece as it comes; `on_piece` returns whether to go
  // on (false closes the connection). The Response has no body then. `on_head` sees status and
  // headers before the first piece.
  Result<Response> stream(const Request& request,
                          const std::function<void(const Response& head)>& on_head,
                          const std::function<bool(std::string_view piece)>& on_piece);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fathom::http
