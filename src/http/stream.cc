#include "http/stream.h"

#include <algorithm>

#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

namespace fathom::http {

namespace asio = boost::asio;

namespace {

constexpr std::size_t kRecordBytes = 16 << 10;  // TLS puts no more into one

// The error of a step that can neither be repeated nor has succeeded.
Stream::Error error_of(TlsSession::Step step) {
  if (step == TlsSession::Step::kEnded) return asio::error::eof;
  return asio::error::connection_reset;
}

Stream::Socket::wait_type wait_of(TlsSession::Step step) {
  return step == TlsSession::Step::kWantWrite ? Stream::Socket::wait_write
                                              : Stream::Socket::wait_read;
}

}  // namespace

Stream::Stream(Socket socket, const std::shared_ptr<const TlsContext>& tls)
    : socket_(std::move(socket)) {
  if (tls == nullptr) return;
  Error ignored;
  socket_.native_non_blocking(true, ignored);  // Asio sees to it only in operations of its own
  tls_ = TlsSession::accept(tls, socket_.native_handle());
}

asio::awaitable<void> Stream::wait_for(Step step, Error& error) {
  if (!is_open()) {
    error = asio::error::operation_aborted;
  } else if (step == Step::kWantRead || step == Step::kWantWrite) {
    auto waiting =
        socket_.async_wait(wait_of(step), asio::redirect_error(asio::use_awaitable, error));
    co_await std::move(waiting);
    if (!error && !is_open()) error = asio::error::operation_aborted;
  } else {
    error = error_of(step);
  }
}

asio::awaitable<Stream::Greeting> Stream::shake_hands() {
  Error error;
  while (is_open()) {
    const Step step = tls_->shake_hands();
    if (step == Step::kDone) co_return Greeting::kDone;
    if (step == Step::kFailed && tls_->peer_speaks_http()) {
      tls_.reset();
      co_return Greeting::kPlainHttp;
    }
    co_await wait_for(step, error);
    if (error) break;
  }
  close();
  co_return Greeting::kFailed;
}

asio::awaitable<std::size_t> Stream::read_some(asio::mutable_buffer into, Error& error) {
  if (tls_ != nullptr) return read_secure(into, error);
  return socket_.async_read_some(into, asio::redirect_error(asio::use_awaitable, error));
}

asio::awaitable<std::size_t> Stream::read_secure(asio::mutable_buffer into, Error& error) {
  error = {};
  if (!is_open()) error = asio::error::operation_aborted;
  while (!error) {
    std::size_t count = 0;
    const Step step = tls_->read({static_cast<char*>(into.data()), into.size()}, count);
    if (step == Step::kDone) {
      // A peer that always has more to say must not keep the thread to itself.
      auto turn = asio::post(socket_.get_executor(), asio::use_awaitable);
      co_await std::move(turn);
      co_return count;
    }
    co_await wait_for(step, error);
  }
  co_return 0;
}

asio::awaitable<std::size_t> Stream::write_all(std::string_view bytes, Error& error) {
  if (tls_ != nullptr) return write_all_secure(bytes, error);
  return asio::async_write(socket_, asio::const_buffer(bytes.data(), bytes.size()),
                           asio::redirect_error(asio::use_awaitable, error));
}

asio::awaitable<std::size_t> Stream::write_all_secure(std::string_view bytes, Error& error) {
  error = {};
  if (!is_open()) error = asio::error::operation_aborted;
  std::size_t sent = 0;
  while (!error && sent < bytes.size()) {
    std::size_t count = 0;
    const Step step = tls_->write(bytes.substr(sent), count);
    sent += count;
    if (step != Step::kDone) co_await wait_for(step, error);
  }
  co_return sent;
}

void Stream::gather(const Parts& parts) {
  gathered_.clear();
  for (const asio::const_buffer& part : parts) {
    const std::size_t size = std::min(part.size(), kRecordBytes - gathered_.size());
    gathered_.append(static_cast<const char*>(part.data()), size);
  }
}

void Stream::write_gathered(Done done) {
  std::size_t count = 0;
  const Step step = is_open() ? tls_->write(gathered_, count) : Step::kFailed;
  if (step == Step::kWantRead || step == Step::kWantWrite) {
    socket_.async_wait(wait_of(step), [this, done = std::move(done)](const Error& error) mutable {
      if (error) {
        done(error, 0);
      } else {
        write_gathered(std::move(done));
      }
    });
    return;
  }
  std::string().swap(gathered_);
  const Error error = step == Step::kDone ? Error() : error_of(step);
  asio::post(socket_.get_executor(),
             [done = std::move(done), error, count] { done(error, count); });
}

void Stream::end_sending() {
  if (!is_open()) return;
  if (tls_ != nullptr) tls_->end_sending();
  Error ignored;
  socket_.shutdown(Socket::shutdown_send, ignored);
}

void Stream::close() {
  Error ignored;
  socket_.close(ignored);
}

}  // namespace fathom::http
