#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "api/batch_line.h"
#include "base/status.h"
#include "http/client.h"

namespace fathom::app {

struct BatchServer {
  http::Url url;
  std::string api_key;
  std::int64_t timeout_s = 3600;  // without a byte of an answer
  std::int64_t retries = 3;       // after answers of 500, 502 and 504
  std::int64_t give_up_s = 600;   // of trying again, without any answer to anyone of this run
};

// What the senders of a run share.
//
// Threads: any.
struct BatchSignals {
  std::atomic<bool> cancel = false;          // break off what is under way
  std::atomic<std::int64_t> last_answer_ns;  // of now_ns(): when the server last said anything
};

// How many requests keep the server at its limits: what /server_info says that it runs at once and
// a quarter more, which wait there. 64 when it does not say. kUnavailable when nobody answers;
// kInvalidArgument when the server wants another key, which no line could do without.
Result<std::int64_t> batch_concurrency(const BatchServer& server);

// Sends lines over one kept connection, trying again where that may help: as often as needed while
// the server is full (429, 503) or away, until that has lasted for give_up_s.
//
// Threads: one at a time.
class BatchSender {
 public:
  BatchSender(const BatchServer& server, BatchSignals& signals);

  // The answer to a line, whatever its status. kCancelled; kDeadlineExceeded after timeout_s
  // without a byte; kUnavailable after give_up_s.
  Result<http::Response> send(const api::BatchLine& line);

 private:
  // False when the run is cancelled in the meantime.
  bool wait(std::int64_t milliseconds) const;

  const BatchServer& server_;
  BatchSignals& signals_;
  http::Client client_;
};

}  // namespace fathom::app
