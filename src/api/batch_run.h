#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "api/batch_exchange.h"
#include "api/batch_files.h"
#include "api/batch_line.h"
#include "api/file_store.h"
#include "http/server.h"

namespace fathom::api {

// Answers one request as if a client had sent it; never waits.
using BatchSend = std::function<void(http::Request, std::shared_ptr<http::Exchange>)>;

// What a run is of, and whom it asks and tells.
struct BatchRunOptions {
  std::string id;  // of the batch
  std::string input_file;
  std::string output_file;
  std::string error_file;
  std::size_t concurrency = 64;
  std::function<bool()> ended;                             // asked for before every line
  std::function<void(std::int64_t, std::int64_t)> counts;  // answered well and not, so far
};

// One batch on its way: reads lines, keeps requests in flight, writes answers.
//
// Threads: one.
class BatchRun {
 public:
  // `files` and what `send` uses outlive it. Answers come through `answers`, which others may
  // interrupt.
  BatchRun(BatchRunOptions options,
           FileStore& files,
           const BatchSend& send,
           std::shared_ptr<BatchAnswers> answers)
      : options_(std::move(options)), files_(files), send_(send), answers_(std::move(answers)) {}

  // Until every line has an answer or the run is ended. When it returns well, what was answered is
  // on the disk.
  Status run();

 private:
  struct Waiting {
    std::int64_t index = 0;
    BatchLine line;
    int failures = 0;  // of the server on it
  };
  struct Sent {
    Waiting waiting;
    std::shared_ptr<BatchExchange> exchange;
  };

  Status open();
  // Sends as many lines as may be in flight.
  Status fill();
  void send(Waiting waiting);
  Status take(const BatchAnswers::Answer& answer);
  Status write(const BatchLine& line, const http::Response& response);
  Status close();

  const BatchRunOptions options_;
  FileStore& files_;
  const BatchSend& send_;
  const std::shared_ptr<BatchAnswers> answers_;
  std::optional<LineFile> input_;
  std::optional<ResultFile> output_;
  std::optional<ResultFile> errors_;
  std::unordered_map<std::int64_t, Sent> in_flight_;
  std::vector<Waiting> again_;  // lines that are to be sent again
  bool pausing_ = false;        // one came to be: no more are sent for a while
  std::int64_t completed_ = 0;  // of earlier runs, too
  std::int64_t failed_ = 0;     // likewise
  std::int64_t written_ = 0;
  bool input_ended_ = false;
};

}  // namespace fathom::api
