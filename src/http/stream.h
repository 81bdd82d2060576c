#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "http/tls.h"

namespace fathom::http {

// The bytes of one connection of a server, plain or under TLS. A plain one adds nothing to what
// Asio's socket does; under TLS OpenSSL works on the socket itself, and this waits for it.
//
// An operation under way ends with operation_aborted when socket().cancel() or close() is called.
// The stream must outlive every operation: whoever starts one keeps it.
//
// Threads: the worker's.
class Stream {
 public:
  using Error = boost::system::error_code;
  using Socket = boost::asio::ip::tcp::socket;
  using Parts = std::array<boost::asio::const_buffer, 3>;

  // `tls`: null for a plain one.
  Stream(Socket socket, const std::shared_ptr<const TlsContext>& tls);
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  Socket& socket() { return socket_; }
  bool is_open() const { return socket_.is_open(); }
  bool secure() const { return tls_ != nullptr; }

  enum class Greeting : unsigned char {
    kDone,
    kPlainHttp,  // the peer speaks HTTP without TLS, and so does this stream from now on
    kFailed,     // closed
  };
  // Requires secure(); to be kDone before anything else.
  boost::asio::awaitable<Greeting> shake_hands();

  // How many bytes came; eof when the peer has ended its half.
  boost::asio::awaitable<std::size_t> read_some(boost::asio::mutable_buffer into, Error& error);
  boost::asio::awaitable<std::size_t> write_all(std::string_view bytes, Error& error);

  // Sends some of `parts`, which stay as they are until `done(error, bytes)` is called; never from
  // inside this call. One at a time.
  template <typename Done>
  void write_some(const Parts& parts, Done done) {
    if (tls_ == nullptr) {
      socket_.async_write_some(parts, std::move(done));
    } else {
      gather(parts);
      write_gathered(std::move(done));
    }
  }

  // Nothing more will be sent; the peer learns it.
  void end_sending();
  void close();

 private:
  using Done = std::function<void(const Error& error, std::size_t bytes)>;
  using Step = TlsSession::Step;

  boost::asio::awaitable<std::size_t> read_secure(boost::asio::mutable_buffer into, Error& error);
  boost::asio::awaitable<std::size_t> write_all_secure(std::string_view bytes, Error& error);
  // Until the socket can be used again after `step`; an error when it never will.
  boost::asio::awaitable<void> wait_for(Step step, Error& error);
  void gather(const Parts& parts);
  void write_gathered(Done done);

  Socket socket_;
  std::unique_ptr<TlsSession> tls_;
  std::string gathered_;  // at most one record of an output under way
};

}  // namespace fathom::http
