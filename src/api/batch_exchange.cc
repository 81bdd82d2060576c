#include "api/batch_exchange.h"

#include <chrono>
#include <utility>

#include "api/refusal.h"

namespace fathom::api {

void BatchAnswers::add(Answer answer) {
  const std::lock_guard lock(mutex_);
  answers_.push_back(std::move(answer));
  came_.notify_one();
}

bool BatchAnswers::take(Answer& answer, std::int64_t milliseconds) {
  std::unique_lock lock(mutex_);
  came_.wait_for(lock, std::chrono::milliseconds(milliseconds),
                 [this] { return !answers_.empty() || interrupted_; });
  interrupted_ = false;
  if (answers_.empty()) return false;
  answer = std::move(answers_.front());
  answers_.pop_front();
  return true;
}

void BatchAnswers::interrupt() {
  const std::lock_guard lock(mutex_);
  interrupted_ = true;
  came_.notify_one();
}

BatchExchange::~BatchExchange() {
  if (!answered_ && !left_) {
    answers_->add({index_, error_response(Refusal::of(500, "the request got no answer"))});
  }
}

void BatchExchange::respond(http::Response response) {
  {
    const std::lock_guard lock(mutex_);
    answered_ = true;
    gone_ = nullptr;
    if (left_) return;
  }
  answers_->add({index_, std::move(response)});
}

void BatchExchange::start(http::Response response) {
  const std::lock_guard lock(mutex_);
  begun_ = std::move(response);
}

bool BatchExchange::write(std::string piece) {
  const std::lock_guard lock(mutex_);
  begun_.body += piece;
  return !left_;
}

void BatchExchange::finish() {
  http::Response response;
  {
    const std::lock_guard lock(mutex_);
    response = std::move(begun_);
  }
  respond(std::move(response));
}

void BatchExchange::on_gone(std::function<void()> gone) {
  {
    const std::lock_guard lock(mutex_);
    if (answered_) return;
    if (!left_) {
      gone_ = std::move(gone);
      return;
    }
  }
  gone();
}

void BatchExchange::leave() {
  std::function<void()> gone;
  {
    const std::lock_guard lock(mutex_);
    left_ = true;
    gone = std::exchange(gone_, nullptr);
  }
  if (gone) gone();
}

}  // namespace fathom::api
