#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "http/message.h"

namespace fathom::http {

// "http://host[:port][/path]" in its parts. kInvalidArgument says what is wrong.
struct Url {
  std::string host;
  std::uint16_t port = 80;
  std::string path;  // starts with '/', or is empty
};
Result<Url> parse_url(std::string_view text);

struct ClientOptions {
  std::chrono::milliseconds connect_timeout{5000};
  std::chrono::milliseconds read_timeout{600000};  // without a byte from the peer
};

// Requests over one kept connection, one at a time; connects when needed and again when the peer
// closed it in between. Blocking.
//
// Threads: one at a time.
class Client {
 public:
  Client(Url url, const ClientOptions& options = {});
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // kUnavailable when the peer cannot be reached or breaks off. An answer with any status is a
  // success.
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

// Splits a text/event-stream into the data of its events.
class EventParser {
 public:
  // Appends bytes; calls `on_data` for each complete event with its data lines joined by '\n'.
  // Returns false as soon as on_data does.
  bool push(std::string_view bytes, const std::function<bool(std::string_view data)>& on_data);

 private:
  std::string line_;
  std::string data_;
  bool has_data_ = false;
};

}  // namespace fathom::http
