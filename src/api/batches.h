#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "api/batch_run.h"
#include "api/file_store.h"
#include "base/json.h"
#include "base/status.h"

namespace fathom::api {

struct BatchOptions {
  std::size_t concurrency = 64;  // requests of a batch at once
  std::size_t max_concurrency = 1024;
  std::size_t max_batches = 1000;  // that are kept, finished ones too
  std::size_t max_lines = 50000;   // of one batch
};

// OpenAI's batches: the lines of an uploaded file, each a request, answered one batch after the
// other while the server serves its clients. What a batch has answered is in files of the store as
// it goes, so that one which the end of the server interrupts goes on at the next start.
//
// Threads: any.
class Batches {
 public:
  using Send = BatchSend;

  // `files` outlives this, and so does what `send` uses.
  Batches(FileStore& files, Send send, const BatchOptions& options);
  ~Batches();  // stop()
  Batches(const Batches&) = delete;
  Batches& operator=(const Batches&) = delete;

  // Goes on with what the store holds from earlier.
  Status start();
  // For good: leaves what is under way, whose lines are sent again at the next start. Answers that
  // come from now on are not written. Does not wait.
  void stop();

  // The members input_file_id, endpoint, completion_window and metadata of a request; the batch as
  // clients are told of it. kInvalidArgument says what is wrong. Where there are as many batches as
  // may be, the oldest that is over is forgotten; kResourceExhausted when none is.
  Result<Json> create(const Json& request);
  // Nothing when there is none.
  std::optional<Json> find(const std::string& id);
  std::optional<Json> cancel(const std::string& id);
  // The newest first; from the one behind `after` on, when that is not empty.
  std::vector<Json> list(const std::string& after, std::size_t limit);

 private:
  struct Batch;

  void work();
  // The oldest that is not finished.
  std::shared_ptr<Batch> next();
  void run(const std::shared_ptr<Batch>& batch);
  Status prepare(Batch& batch);
  Status answer_lines(Batch& batch);
  void fail(Batch& batch, const Status& status);
  Status make_room();
  Status keep(const Batch& batch);
  void set_status(Batch& batch, std::string_view status, std::string_view time_name);

  FileStore& files_;
  const Send send_;
  const BatchOptions options_;

  std::mutex mutex_;  // guards all below, and the batches' facts
  std::condition_variable changed_;
  bool loaded_ = false;
  bool stopping_ = false;
  std::uint64_t created_ = 0;
  std::map<std::string, std::shared_ptr<Batch>> batches_;
  const Batch* running_ = nullptr;  // the worker's; null: none
  std::thread worker_;
};

}  // namespace fathom::api
