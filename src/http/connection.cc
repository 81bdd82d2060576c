#include "http/connection.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <exception>
#include <fcntl.h>
#include <unistd.h>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/clock.h"
#include "base/log.h"
#include "http/answer.h"
#include "http/request_parser.h"
#include "http/response_head.h"
#include "http/stream.h"

namespace fathom::http {

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

// Small, because every idle connection and every open stream has one; it grows under load.
constexpr std::size_t kFirstReadBytes = 2 << 10;
constexpr std::size_t kMaxReadBytes = 64 << 10;
// Of requests behind the one that is being answered.
constexpr std::size_t kReadAheadBytes = 64 << 10;
// How long the peer has to read an error before the connection goes for good.
constexpr std::chrono::milliseconds kLinger{2000};
// Connections beyond the bound that are told so at one time; more are closed unheard.
constexpr std::size_t kMaxTurnedAway = 256;

constexpr std::size_t kLoggedTargetBytes = 2048;  // a peer's target may be as long as a head

constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
constexpr std::string_view kProcessing = "HTTP/1.1 102 Processing\r\n\r\n";

// One coroutine reads requests and waits for their answers; the sending of an answer is a chain of
// completions beside it, which costs less for each piece of a stream. Both run on the worker's
// thread. The coroutine's frame and every operation under way share the connection.
class TcpConnection final : public Connection, public std::enable_shared_from_this<TcpConnection> {
 public:
  TcpConnection(Worker& worker, tcp::socket socket, std::string peer, bool turned_away)
      : worker_(worker),
        state_(worker.state()),
        stream_(std::move(socket), state_.tls_now()),
        peer_(std::move(peer)),
        turned_away_(turned_away),
        parser_({state_.options.max_header_bytes, state_.options.max_body_bytes}) {
    ++state_.connections;
  }
  TcpConnection(const TcpConnection&) = delete;
  TcpConnection& operator=(const TcpConnection&) = delete;
  ~TcpConnection() override { --state_.connections; }

  void start() override;
  void check(std::int64_t now) override;
  void close_if_idle() override;
  void close() override;

 private:
  enum class Outcome : std::uint8_t { kRequest, kRefused, kClosed };

  // The coroutine and its parts.
  asio::awaitable<void> run();
  asio::awaitable<bool> shake_hands();
  asio::awaitable<Outcome> read_request();
  asio::awaitable<void> answer_request();
  asio::awaitable<bool> read_some();
  asio::awaitable<void> watch_peer();
  asio::awaitable<void> send(std::string_view bytes);
  asio::awaitable<void> refuse(int status, std::string message);
  asio::awaitable<void> linger();
  void note_stage();
  void call_handler();
  void forget_buffers();
  void end();

  // The sending of an answer.
  void flush();
  void log_access(int status);
  void write_output();
  void begin_write();
  void wrote(const error_code& error, std::size_t bytes);
  void end_answer();
  void probe();

  void set_busy(bool busy);
  bool stuck_at_the_end(std::int64_t now) const;
  void expire_after(std::chrono::milliseconds time);
  bool closed() const { return !stream_.is_open(); }

  Worker& worker_;
  ServerState& state_;
  Stream stream_;
  const std::string peer_;
  const bool turned_away_;
  RequestParser parser_;
  std::string input_;  // read and not yet used
  std::size_t read_bytes_ = kFirstReadBytes;
  std::int64_t deadline_ns_ = 0;         // of what the coroutine waits for; 0: none
  bool timed_out_ = false;               // it has passed
  std::int64_t progress_ns_ = now_ns();  // when bytes last came, or their sending began
  std::int64_t peer_ended_ns_ = 0;       // when the peer ended its half; 0: it has not
  bool busy_ = false;

  std::string request_line_;  // method and target of the request under way, for the access log
  std::shared_ptr<Answer> answer_;  // while a request is being answered; shared with its exchange
  Answer::Output output_;
  std::size_t output_sent_ = 0;
  bool writing_ = false;
  std::int64_t write_deadline_ns_ = 0;
  bool probed_ = false;
  bool keep_alive_ = false;  // after the answer
};

void TcpConnection::start() {
  asio::co_spawn(worker_.context(), run(),
                 [self = shared_from_this()](const std::exception_ptr& thrown) {
                   if (thrown != nullptr) log_error("http: " + self->peer_ + ": out of memory");
                   self->end();
                 });
}

void TcpConnection::end() {
  close();
  set_busy(false);
  worker_.remove(this);
}

// False when there is nobody to serve.
asio::awaitable<bool> TcpConnection::shake_hands() {
  expire_after(state_.options.header_timeout);
  const Stream::Greeting greeting = co_await stream_.shake_hands();
  if (greeting == Stream::Greeting::kPlainHttp) {
    co_await refuse(400, "this port speaks TLS: use https:// instead of http://");
  }
  co_return greeting == Stream::Greeting::kDone;
}

asio::awaitable<void> TcpConnection::run() {
  if (stream_.secure()) {
    const bool greeted = co_await shake_hands();
    if (!greeted) co_return;
  }
  if (turned_away_) {
    co_await refuse(503, "there are " + std::to_string(state_.options.max_connections) +
                             " connections already");
    co_return;
  }
  expire_after(state_.options.header_timeout);
  while (true) {
    const Outcome outcome = co_await read_request();
    if (outcome == Outcome::kClosed) {
      stream_.end_sending();  // if it is idle; under TLS that is not said by closing alone
      co_return;
    }
    if (outcome == Outcome::kRefused) {
      const RequestParser::Refusal refusal = parser_.refusal();
      co_await refuse(refusal.status, refusal.message);
      co_return;
    }
    co_await answer_request();
    if (closed()) co_return;
    if (!keep_alive_ || state_.draining) {
      co_await linger();
      co_return;
    }
  }
}

// Reads until the next request is whole.
asio::awaitable<TcpConnection::Outcome> TcpConnection::read_request() {
  while (true) {
    const RequestParser::Stage before = parser_.stage();
    input_.erase(0, parser_.push(input_));
    const RequestParser::Stage stage = parser_.stage();
    if (stage != before) note_stage();
    if (stage == RequestParser::Stage::kComplete) co_return Outcome::kRequest;
    if (stage == RequestParser::Stage::kRefused) co_return Outcome::kRefused;
    if (stage == RequestParser::Stage::kBody && before != stage && input_.empty() &&
        parser_.expects_continue()) {
      co_await send(kContinue);
    }
    const bool more = co_await read_some();
    if (more) continue;
    if (stage == RequestParser::Stage::kIdle || closed()) co_return Outcome::kClosed;
    if (timed_out_) {
      co_await refuse(408, "the request did not arrive in time");
    } else if (peer_ended_ns_ != 0) {
      co_await refuse(400, "the request ends in the middle");
    }
    co_return Outcome::kClosed;
  }
}

void TcpConnection::note_stage() {
  switch (parser_.stage()) {
    case RequestParser::Stage::kIdle:
      break;
    case RequestParser::Stage::kHead:
      set_busy(true);
      expire_after(state_.options.header_timeout);
      break;
    case RequestParser::Stage::kBody:
      set_busy(true);
      expire_after(state_.options.body_timeout);
      break;
    case RequestParser::Stage::kComplete:
    case RequestParser::Stage::kRefused:
      set_busy(true);
      deadline_ns_ = 0;
      break;
  }
}

// Appends to input_ what the peer has sent. False when nothing more will come, or not in time.
asio::awaitable<bool> TcpConnection::read_some() {
  if (peer_ended_ns_ != 0 || closed()) co_return false;
  const std::size_t had = input_.size();
  input_.resize(had + read_bytes_);
  const asio::mutable_buffer buffer(input_.data() + had, read_bytes_);
  error_code error;
#ifdef __clang_analyzer__  // takes the promise of a coroutine that another one calls for
                           // uninitialised
  const std::size_t count = buffer.size();
#else
  const std::size_t count = co_await stream_.read_some(buffer, error);
#endif
  input_.resize(had + count);
  if (count == read_bytes_) read_bytes_ = std::min(read_bytes_ * 2, kMaxReadBytes);
  if (error == asio::error::eof) peer_ended_ns_ = now_ns();
  progress_ns_ = now_ns();
  if (!error) co_return !timed_out_ && !closed();
  // Cancelled: by check(), or because the answer is complete.
  if (error != asio::error::operation_aborted && error != asio::error::eof) close();
  co_return false;
}

// Assigning an empty string keeps the memory of the old one; thousands of connections may now be
// idle, or have streams that need little, for hours.
void TcpConnection::forget_buffers() {
  read_bytes_ = kFirstReadBytes;
  if (input_.empty()) std::string().swap(input_);
  Answer::Output nothing;
  std::swap(output_, nothing);
}

asio::awaitable<void> TcpConnection::answer_request() {
  forget_buffers();
  call_handler();
  while (answer_ != nullptr) co_await watch_peer();
  if (closed()) co_return;
  if (output_.silent) {
    co_await refuse(500, "the request was given up without an answer");
    keep_alive_ = false;
    co_return;
  }
  forget_buffers();
  if (!keep_alive_) co_return;
  set_busy(false);
  expire_after(state_.options.idle_timeout);
}

void TcpConnection::call_handler() {
  AnswerForm form;
  form.http11 = parser_.http11();
  form.keep_alive = parser_.keep_alive();
  form.max_pending_bytes = state_.options.max_pending_bytes;
  form.budget = state_.budget;
  Request request = parser_.take();
  request.peer = peer_;
  form.head_only = request.method == "HEAD";
  form.echoed = echoed_ids(request.headers);
  if (state_.options.access_log) {
    request_line_ = request.method + " " + request.target.substr(0, kLoggedTargetBytes);
  }
  probed_ = !form.http11;  // 1.0 knows no interim answers
  // The raw pointer is good: detach() comes before the connection's end.
  answer_ = std::make_shared<Answer>(form, [this] {
    asio::post(worker_.context(), [self = shared_from_this()] { self->flush(); });
  });
  ++state_.requests;
  ++state_.unanswered;
  try {
    state_.handler(std::move(request), make_exchange(answer_));
  } catch (const std::exception& error) {  // its exchange is let go of, which answers 500
    log_error("http: " + peer_ + ": a handler failed: " + error.what());
  }
}

// While an answer is under way: reads ahead within bounds, and learns that the peer is gone.
// Returns when something has changed, at the latest when the answer is complete.
asio::awaitable<void> TcpConnection::watch_peer() {
  if (peer_ended_ns_ == 0 && input_.size() < kReadAheadBytes) {
    co_await read_some();
    co_return;
  }
  error_code error;
  auto waiting = stream_.socket().async_wait(tcp::socket::wait_error,
                                             asio::redirect_error(asio::use_awaitable, error));
  co_await std::move(waiting);
  if (error != asio::error::operation_aborted) close();
}

asio::awaitable<void> TcpConnection::send(std::string_view bytes) {
  error_code error;
  begin_write();
  co_await stream_.write_all(bytes, error);
  write_deadline_ns_ = 0;
  if (error) close();
}

asio::awaitable<void> TcpConnection::refuse(int status, std::string message) {
  deadline_ns_ = 0;
  timed_out_ = false;
  Response response;
  response.status = status;
  response.headers.add("Content-Type", "application/json");
  response.body = state_.error_body(status, message);
  log_access(status);
  std::string bytes;
  append_response_head(bytes, response, Framing::kLength, ConnectionWish::kClose, worker_.date());
  bytes += response.body;
  co_await send(bytes);
  co_await linger();
}

// Closing while unread bytes wait would take the answer away from the peer before it is read, so
// the peer is given a while to close first.
asio::awaitable<void> TcpConnection::linger() {
  stream_.end_sending();
  set_busy(false);
  expire_after(kLinger);
  input_.clear();
  while (true) {
    const bool more = co_await read_some();
    if (!more) break;
    input_.clear();
  }
}

void TcpConnection::flush() {
  if (answer_ == nullptr) return;
  if (answer_->overflowed()) {
    close();
    return;
  }
  if (writing_ || !answer_->take(output_, worker_.date(), state_.draining)) return;
  if (output_.status != 0) log_access(output_.status);
  output_sent_ = 0;
  writing_ = true;
  if (output_.size() == 0) {
    end_answer();  // all there is to say is that nothing follows
  } else {
    write_output();
  }
}

void TcpConnection::log_access(int status) {
  const ServerOptions& options = state_.options;
  if (!options.access_log) return;
  // A request that was refused before it was understood has neither method nor path.
  std::string request = std::exchange(request_line_, {});
  if (request.empty()) request = "- -";
  const std::string_view path = std::string_view(request).substr(request.find(' ') + 1);
  const bool unwanted =
      std::ranges::any_of(options.access_log_leaves_out,
                          [path](const std::string& prefix) { return path.starts_with(prefix); });
  if (unwanted) return;
  std::string line = "INFO:     " + peer_ + " - \"" + request + " HTTP/1.1\" ";
  line += std::to_string(status) + " ";
  line += reason_phrase(status);
  log_always(line);
}

void TcpConnection::write_output() {
  const std::array<std::string_view, 3> parts = {output_.prefix, output_.body, output_.suffix};
  Stream::Parts buffers;
  std::size_t skip = output_sent_;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::size_t skipped = std::min(skip, parts[i].size());
    skip -= skipped;
    buffers[i] = asio::const_buffer(parts[i].data() + skipped, parts[i].size() - skipped);
  }
  begin_write();
  stream_.write_some(buffers,
                     [self = shared_from_this()](const error_code& error, std::size_t bytes) {
                       self->wrote(error, bytes);
                     });
}

void TcpConnection::begin_write() {
  progress_ns_ = now_ns();
  write_deadline_ns_ =
      progress_ns_ + std::chrono::nanoseconds(state_.options.write_timeout).count();
}

void TcpConnection::wrote(const error_code& error, std::size_t bytes) {
  write_deadline_ns_ = 0;
  if (error) {
    close();
    return;
  }
  if (answer_ == nullptr) return;  // closed meanwhile
  answer_->sent(bytes);
  output_sent_ += bytes;
  if (output_sent_ < output_.size()) {
    write_output();
  } else if (output_.last) {
    end_answer();
  } else {
    writing_ = false;
    flush();
  }
}

void TcpConnection::end_answer() {
  writing_ = false;
  keep_alive_ = !output_.close;
  if (output_.broken && !output_.silent) {
    close();
    return;
  }
  answer_->detach();
  answer_.reset();
  --state_.unanswered;
  error_code ignored;
  stream_.socket().cancel(ignored);  // wakes the coroutine
}

void TcpConnection::probe() {
  probed_ = true;
  if (writing_) return;
  output_ = {};
  output_.prefix = kProcessing;
  output_sent_ = 0;
  writing_ = true;
  write_output();
}

void TcpConnection::check(std::int64_t now) {
  if (closed()) return;
  if ((write_deadline_ns_ != 0 && now >= write_deadline_ns_) || stuck_at_the_end(now)) {
    close();
    return;
  }
  if (deadline_ns_ != 0 && now >= deadline_ns_) {
    timed_out_ = true;
    deadline_ns_ = 0;
    error_code ignored;
    stream_.socket().cancel(ignored);
    return;
  }
  const std::int64_t patience = std::chrono::nanoseconds(state_.options.half_close_probe).count();
  if (answer_ != nullptr && !probed_ && peer_ended_ns_ != 0 && now - peer_ended_ns_ > patience &&
      answer_->untouched()) {
    probe();
  }
}

// Whoever neither takes its answer nor sends its request must not hold up the server's end.
bool TcpConnection::stuck_at_the_end(std::int64_t now) const {
  if (!state_.draining) return false;
  const bool waits_for_peer = answer_ == nullptr || writing_;
  const std::int64_t patience = std::chrono::nanoseconds(state_.options.drain_patience).count();
  return waits_for_peer && now - progress_ns_ > patience;
}

void TcpConnection::close_if_idle() {
  if (busy_) return;
  stream_.end_sending();
  close();
}

// Everything under way ends with operation_aborted.
void TcpConnection::close() {
  stream_.close();
  deadline_ns_ = 0;
  write_deadline_ns_ = 0;
  if (answer_ == nullptr) return;
  --state_.unanswered;
  std::exchange(answer_, nullptr)->detach();
}

void TcpConnection::set_busy(bool busy) {
  if (std::exchange(busy_, busy) == busy) return;
  if (busy) {
    state_.begin_busy();
  } else {
    state_.end_busy();
  }
}

void TcpConnection::expire_after(std::chrono::milliseconds time) {
  deadline_ns_ = now_ns() + std::chrono::nanoseconds(time).count();
}

}  // namespace

std::shared_ptr<Connection> open_connection(Worker& worker, int socket, std::string peer) {
  ServerState& state = worker.state();
  ++state.accepted;
  const std::size_t bound = state.options.max_connections;
  const std::size_t open = state.connections;
  tcp::socket owned(worker.context());
  error_code error;
  // Which address family it is matters to nothing that is done with it here.
  owned.assign(tcp::v4(), socket, error);
  if (error || open >= bound + kMaxTurnedAway) {
    if (error) ::close(socket);
    return nullptr;
  }
  ::fcntl(socket, F_SETFD, FD_CLOEXEC);
  owned.set_option(tcp::no_delay(true), error);
  owned.set_option(asio::socket_base::keep_alive(true), error);
  return std::make_shared<TcpConnection>(worker, std::move(owned), std::move(peer), open >= bound);
}

}  // namespace fathom::http
