#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "http/message.h"
#include "http/pending_budget.h"
#include "http/server.h"

namespace fathom::http {

// What the answer must know of its request.
struct AnswerForm {
  bool http11 = true;
  bool head_only = false;  // HEAD: no body is sent
  bool keep_alive = true;  // the peer wants another answer on this connection
  std::size_t max_pending_bytes = 0;
  std::shared_ptr<PendingBudget> budget;  // of the server; shared, for the answer may outlive it
  Headers echoed;                         // of the request, sent back with the answer
};

// One answer, between whoever gives it (through the Exchange, on any thread) and the connection
// that sends it (on its own thread). It outlives whichever of the two goes first.
class Answer {
 public:
  // Bytes for the socket. They are in three strings so that a piece need not be copied to get its
  // chunk's framing.
  struct Output {
    std::string prefix;
    std::string body;
    std::string suffix;
    bool last = false;    // nothing follows
    bool close = false;   // with the last: the connection ends behind it
    bool broken = false;  // with the last: the answer was given up, in the middle or …
    bool silent = false;  // … before it began
    int status = 0;       // of the head, when that is in it

    std::size_t size() const { return prefix.size() + body.size() + suffix.size(); }
  };

  // `wake` is called, under a lock, when output waits and the connection does not know; it may only
  // arrange for take() to be called later.
  Answer(const AnswerForm& form, std::function<void()> wake);

  // For the Exchange: its members of the same name. abandon(): nobody will go on with it.
  void respond(Response response);
  void start(Response response);
  bool write(std::string piece);
  void on_sent(std::function<void()> sent);
  void finish();
  void on_gone(std::function<void()> gone);
  void abandon();

  // For the connection. Moves everything that waits into `output`; false when nothing does, and
  // `wake` will tell. `draining` closes the connection behind the answer.
  bool take(Output& output, std::string_view date, bool draining);
  // That many bytes of the last output are with the system.
  void sent(std::size_t bytes);
  // The slow reader's bound is passed: the connection is to be closed.
  bool overflowed() const;
  // Nothing is decided yet, not even the status.
  bool untouched() const;
  // The connection sends no more: `wake` is never called again, and the answer is gone unless it
  // was complete.
  void detach();

 private:
  void begin(Response response, bool whole);
  void end();
  void wake_up();
  bool anything_waits() const;
  void take_head(Output& output, std::string_view date, bool draining);
  void take_pieces(Output& output);
  void count_pending();

  const AnswerForm form_;
  mutable std::mutex mutex_;  // guards all below
  std::function<void()> wake_;
  std::function<void()> gone_callback_;
  std::function<void()> sent_callback_;
  std::optional<Response> head_;  // given and not yet taken
  std::string pieces_;            // body bytes not yet taken
  std::size_t in_flight_bytes_ = 0;
  std::size_t counted_bytes_ = 0;  // in the budget
  bool chunked_ = false;           // decided with the head, as is close_
  bool close_ = false;
  bool bodiless_ = false;
  bool begun_ = false;
  bool whole_ = false;   // respond(), not start()
  bool ended_ = false;   // by whoever answers
  bool broken_ = false;  // given up in the middle
  bool last_taken_ = false;
  bool scheduled_ = false;  // take() will be called without another wake
  bool overflowed_ = false;
  bool gone_ = false;
};

// The side of whoever answers. An exchange that is let go without an answer is answered 500; one
// that is let go in the middle of a stream is broken off.
std::shared_ptr<Exchange> make_exchange(std::shared_ptr<Answer> answer);

}  // namespace fathom::http
