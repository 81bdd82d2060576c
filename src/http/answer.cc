#include "http/answer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "base/check.h"
#include "http/response_head.h"

namespace fathom::http {

namespace {

std::string chunk_header(std::size_t bytes) {
  std::array<char, 20> digits{};
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), bytes, 16);
  FATHOM_CHECK(error == std::errc());
  return std::string(digits.data(), end) + "\r\n";
}

bool has_no_body(int status) { return status / 100 == 1 || status == 204 || status == 304; }

class AnswerExchange final : public Exchange {
 public:
  explicit AnswerExchange(std::shared_ptr<Answer> answer) : answer_(std::move(answer)) {}
  AnswerExchange(const AnswerExchange&) = delete;
  AnswerExchange& operator=(const AnswerExchange&) = delete;
  ~AnswerExchange() override { answer_->abandon(); }

  void respond(Response response) override { answer_->respond(std::move(response)); }
  void start(Response response) override { answer_->start(std::move(response)); }
  bool write(std::string piece) override { return answer_->write(std::move(piece)); }
  void on_sent(std::function<void()> sent) override { answer_->on_sent(std::move(sent)); }
  void finish() override { answer_->finish(); }
  void on_gone(std::function<void()> gone) override { answer_->on_gone(std::move(gone)); }

 private:
  std::shared_ptr<Answer> answer_;  // shared with the connection, which may go before or after
};

}  // namespace

std::shared_ptr<Exchange> make_exchange(std::shared_ptr<Answer> answer) {
  return std::make_shared<AnswerExchange>(std::move(answer));
}

Answer::Answer(const AnswerForm& form, std::function<void()> wake)
    : form_(form), wake_(std::move(wake)) {}

void Answer::wake_up() {
  if (scheduled_ || !wake_) return;
  scheduled_ = true;
  wake_();
}

bool Answer::anything_waits() const {
  return head_.has_value() || !pieces_.empty() || in_flight_bytes_ > 0;
}

// Tells the budget what waits now.
void Answer::count_pending() {
  if (form_.budget == nullptr) return;
  const std::size_t waiting =
      pieces_.size() + in_flight_bytes_ + (head_.has_value() ? head_->body.size() : 0);
  form_.budget->change(std::exchange(counted_bytes_, waiting), waiting);
}

void Answer::begin(Response response, bool whole) {
  FATHOM_CHECK_MSG(!begun_, "an exchange is answered once");
  begun_ = true;
  whole_ = whole;
  if (gone_) return;
  bodiless_ = has_no_body(response.status);
  head_ = std::move(response);
  count_pending();
}

void Answer::respond(Response response) {
  std::function<void()> unneeded;  // destroyed outside the lock, with what it holds
  const std::lock_guard lock(mutex_);
  begin(std::move(response), true);
  ended_ = true;
  unneeded.swap(gone_callback_);
  wake_up();
}

void Answer::start(Response response) {
  const std::lock_guard lock(mutex_);
  begin(std::move(response), false);
  wake_up();
}

bool Answer::write(std::string piece) {
  const std::lock_guard lock(mutex_);
  FATHOM_CHECK_MSG(begun_ && !whole_ && !ended_, "write() belongs between start() and finish()");
  if (gone_ || overflowed_) return false;
  if (form_.head_only || bodiless_ || piece.empty()) return true;
  const std::size_t waiting = pieces_.size() + in_flight_bytes_;
  if (waiting > form_.max_pending_bytes ||
      (form_.budget != nullptr && form_.budget->too_much(waiting))) {
    overflowed_ = true;
    if (wake_) wake_();  // whatever is scheduled may wait for this very reader
    return false;
  }
  if (pieces_.empty()) {
    pieces_ = std::move(piece);
  } else {
    pieces_ += piece;
  }
  count_pending();
  wake_up();
  return true;
}

void Answer::on_sent(std::function<void()> sent) {
  {
    const std::lock_guard lock(mutex_);
    FATHOM_CHECK_MSG(begun_ && !whole_ && !ended_ && !sent_callback_,
                     "on_sent() belongs between start() and finish(), one at a time");
    if (gone_ || overflowed_) return;
    if (anything_waits()) {
      sent_callback_.swap(sent);
      return;
    }
  }
  sent();
}

void Answer::finish() {
  std::function<void()> unneeded;
  const std::lock_guard lock(mutex_);
  FATHOM_CHECK_MSG(begun_ && !whole_ && !ended_, "finish() belongs behind start(), once");
  ended_ = true;
  unneeded.swap(gone_callback_);
  wake_up();
}

void Answer::abandon() {
  std::function<void()> unneeded;
  std::function<void()> unsent;
  const std::lock_guard lock(mutex_);
  if (ended_) return;
  ended_ = true;
  broken_ = true;
  unneeded.swap(gone_callback_);
  unsent.swap(sent_callback_);
  wake_up();
}

void Answer::on_gone(std::function<void()> gone) {
  {
    const std::lock_guard lock(mutex_);
    if (ended_) return;
    if (!gone_) {
      gone_callback_.swap(gone);
      return;
    }
  }
  gone();
}

void Answer::take_head(Output& output, std::string_view date, bool draining) {
  chunked_ = !whole_ && form_.http11 && !bodiless_;
  const bool until_end = !whole_ && !form_.http11 && !bodiless_;
  close_ = !form_.keep_alive || draining || until_end;
  Framing framing = Framing::kLength;
  if (bodiless_) framing = Framing::kNone;
  if (chunked_) framing = Framing::kChunked;
  if (until_end) framing = Framing::kUntilEnd;
  ConnectionWish wish = form_.http11 ? ConnectionWish::kUnsaid : ConnectionWish::kKeepAlive;
  if (close_) wish = ConnectionWish::kClose;
  for (const auto& [name, value] : form_.echoed.all()) {
    if (head_->headers.find(name) == nullptr) head_->headers.add(name, value);
  }
  output.status = head_->status;
  append_response_head(output.prefix, *head_, framing, wish, date);
  if (!form_.head_only && !bodiless_) {
    if (pieces_.empty()) {
      pieces_ = std::move(head_->body);
    } else {
      pieces_.insert(0, head_->body);
    }
  }
  head_.reset();
}

// Everything that waits becomes one chunk.
void Answer::take_pieces(Output& output) {
  output.body.swap(pieces_);
  pieces_.clear();
  if (!chunked_ || form_.head_only) return;
  if (!output.body.empty()) {
    output.prefix += chunk_header(output.body.size());
    output.suffix = "\r\n";
  }
  if (ended_ && !broken_) output.suffix += "0\r\n\r\n";
}

bool Answer::take(Output& output, std::string_view date, bool draining) {
  const std::lock_guard lock(mutex_);
  const bool anything = head_.has_value() || !pieces_.empty() || (ended_ && !last_taken_);
  if (!anything || last_taken_) {
    scheduled_ = false;
    return false;
  }
  output = {};
  output.silent = ended_ && !begun_;
  if (head_.has_value()) take_head(output, date, draining);
  take_pieces(output);
  last_taken_ = ended_;
  output.last = ended_;
  output.close = close_ || draining;
  output.broken = broken_;
  in_flight_bytes_ = output.size();
  count_pending();
  return true;
}

void Answer::sent(std::size_t bytes) {
  std::function<void()> all_sent;
  {
    const std::lock_guard lock(mutex_);
    in_flight_bytes_ -= std::min(bytes, in_flight_bytes_);
    count_pending();
    if (!anything_waits()) all_sent.swap(sent_callback_);
  }
  if (all_sent) all_sent();
}

bool Answer::overflowed() const {
  const std::lock_guard lock(mutex_);
  return overflowed_;
}

bool Answer::untouched() const {
  const std::lock_guard lock(mutex_);
  return !begun_ && !ended_;
}

void Answer::detach() {
  std::function<void()> gone;
  std::function<void()> unsent;  // destroyed outside the lock, with what it holds
  {
    const std::lock_guard lock(mutex_);
    wake_ = nullptr;
    if (!ended_) gone_ = true;
    gone.swap(gone_callback_);
    unsent.swap(sent_callback_);
    head_.reset();
    std::string().swap(pieces_);  // whoever answers may keep this for long
    in_flight_bytes_ = 0;
    count_pending();
  }
  if (gone) gone();
}

}  // namespace fathom::http
