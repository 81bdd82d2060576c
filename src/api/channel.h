#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "http/message.h"
#include "http/server.h"
#include "observe/http_metrics.h"

namespace fathom::api {

// Where the status of an answer is counted, and under which endpoint; null: nowhere.
struct ResponseCounts {
  observe::HttpMetrics* metrics = nullptr;
  std::string_view endpoint;
};

inline constexpr std::string_view kEventStream = "text/event-stream; charset=utf-8";

// The way back to one client: its exchange, and what its browser wants to read in the headers.
//
// Threads: as Exchange; copies are the same channel.
class Channel {
 public:
  Channel(std::shared_ptr<http::Exchange> exchange,
          const http::Request& request,
          ResponseCounts counts = {});

  void respond(http::Response response);
  // Starts a stream; its body is the first piece.
  void start(http::Response response);
  // Starts a stream of this media type with its first events.
  void start_events(std::string events, std::string_view type = kEventStream);
  // The other members are those of http::Exchange. False when the peer is gone.
  bool write(std::string events) { return exchange_->write(std::move(events)); }
  void on_sent(std::function<void()> sent) { exchange_->on_sent(std::move(sent)); }
  void finish() { exchange_->finish(); }
  void on_gone(std::function<void()> gone) { exchange_->on_gone(std::move(gone)); }

 private:
  void allow_origin(http::Response& response) const;
  void count(int status) const;

  std::shared_ptr<http::Exchange> exchange_;
  ResponseCounts counts_;
  std::string method_;  // when counted
  std::string origin_;  // empty: no browser asks
};

// The answer to a browser that asks whether it may send `request`: it may.
http::Response preflight_response(const http::Request& request);

}  // namespace fathom::api
