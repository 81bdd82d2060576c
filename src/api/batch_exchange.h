#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

#include "http/server.h"

namespace fathom::api {

// Answers that came to requests of our own, until somebody takes them.
//
// Threads: any.
class BatchAnswers {
 public:
  struct Answer {
    std::int64_t index = 0;  // what the exchange was made with
    http::Response response;
  };

  void add(Answer answer);
  // Waits until there is an answer, interrupt() was called, or `milliseconds` have passed; false
  // when there is none.
  bool take(Answer& answer, std::int64_t milliseconds);
  // Ends the take() that waits, or the next one.
  void interrupt();

 private:
  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<Answer> answers_;  // guarded by mutex_
  bool interrupted_ = false;    // guarded by mutex_
};

// The exchange of a request that no peer sent: its answer goes to `answers`, exactly once, or not
// at all after leave().
//
// Threads: as http::Exchange; leave() from any.
class BatchExchange final : public http::Exchange {
 public:
  BatchExchange(std::int64_t index, std::shared_ptr<BatchAnswers> answers)
      : index_(index), answers_(std::move(answers)) {}
  ~BatchExchange() override;
  BatchExchange(const BatchExchange&) = delete;
  BatchExchange& operator=(const BatchExchange&) = delete;

  void respond(http::Response response) override;
  void start(http::Response response) override;
  bool write(std::string piece) override;
  void on_sent(std::function<void()> sent) override { sent(); }
  void finish() override;
  void on_gone(std::function<void()> gone) override;

  // Nobody wants the answer any more: what a peer that closes its connection does.
  void leave();

 private:
  const std::int64_t index_;
  const std::shared_ptr<BatchAnswers> answers_;
  std::mutex mutex_;  // guards all below
  http::Response begun_;
  std::function<void()> gone_;
  bool answered_ = false;
  bool left_ = false;
};

}  // namespace fathom::api
