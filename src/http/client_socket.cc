#include "http/client_socket.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <memory>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>

#include <netdb.h>
#include <poll.h>

#include "base/clock.h"
#include "http/url.h"

namespace fathom::http {

namespace {

// How long a wait goes on before it looks at `cancel` again.
constexpr std::int64_t kSliceMs = 50;

std::string reason(int error) { return std::generic_category().message(error); }

Status unavailable(const std::string& what, int error) {
  return {Code::kUnavailable, what + ": " + reason(error)};
}

}  // namespace

Status ClientSocket::wait(int handle, short events, std::chrono::milliseconds timeout) const {
  const std::int64_t end_ns = now_ns() + std::chrono::nanoseconds(timeout).count();
  while (true) {
    if (cancel_ != nullptr && cancel_->load()) return {Code::kCancelled, "cancelled"};
    const std::int64_t left_ms = (end_ns - now_ns() + 999'999) / 1'000'000;
    if (left_ms <= 0) {
      return {Code::kDeadlineExceeded, "nothing within " + std::to_string(timeout.count()) + " ms"};
    }
    pollfd poll_for{handle, events, 0};
    const std::int64_t slice = cancel_ == nullptr ? left_ms : std::min(left_ms, kSliceMs);
    const int ready = ::poll(&poll_for, 1, static_cast<int>(std::min<std::int64_t>(slice, 60'000)));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return unavailable("poll", errno);
  }
}

Status ClientSocket::connect(const std::string& host,
                             std::uint16_t port,
                             std::chrono::milliseconds timeout) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, ::freeaddrinfo);
  if (error != 0) {
    return {Code::kUnavailable, "host '" + host + "': " + ::gai_strerror(error)};
  }
  Status status;
  for (const addrinfo* address = found; address != nullptr; address = address->ai_next) {
    status = connect_to(address, timeout);
    if (status.ok() || status.code() == Code::kCancelled) break;
  }
  return status.in("connect to " + host_and_port(host, port));
}

Status ClientSocket::connect_to(const void* address, std::chrono::milliseconds timeout) {
  const auto& info = *static_cast<const addrinfo*>(address);
  handle_ = ::socket(info.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
  if (handle_ < 0) return unavailable("socket", errno);
  const int on = 1;
  ::setsockopt(handle_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(handle_, info.ai_addr, info.ai_addrlen) == 0) return {};
  int error = errno;
  Status waited;
  if (error == EINPROGRESS) {
    waited = wait(handle_, POLLOUT, timeout);
    socklen_t size = sizeof error;
    if (waited.ok()) ::getsockopt(handle_, SOL_SOCKET, SO_ERROR, &error, &size);
    if (waited.ok() && error == 0) return {};
  }
  close();
  return waited.ok() ? Status(Code::kUnavailable, reason(error)) : waited;
}

Status ClientSocket::wait_for(TlsSession::Step step, std::chrono::milliseconds timeout) const {
  switch (step) {
    case TlsSession::Step::kDone:
      return {};
    case TlsSession::Step::kWantRead:
      return wait(handle_, POLLIN, timeout);
    case TlsSession::Step::kWantWrite:
      return wait(handle_, POLLOUT, timeout);
    case TlsSession::Step::kEnded:
      return {Code::kUnavailable, "the peer has closed"};
    case TlsSession::Step::kFailed:
      break;
  }
  return {Code::kUnavailable, tls_->failure()};
}

Status ClientSocket::secure(const std::shared_ptr<const TlsContext>& context,
                            const std::string& host,
                            std::chrono::milliseconds timeout) {
  tls_ = TlsSession::connect(context, handle_, host);
  while (true) {
    const TlsSession::Step step = tls_->shake_hands();
    if (step == TlsSession::Step::kDone) return {};
    const Status waited = wait_for(step, timeout);
    if (waited.ok()) continue;
    close();
    return waited.in("TLS");
  }
}

bool ClientSocket::is_fresh() {
  if (!is_open()) return false;
  char byte = 0;
  if (tls_ != nullptr) {
    // What the peer's TLS has to say between requests is none of its answers.
    std::size_t count = 0;
    return tls_->read({&byte, 1}, count) == TlsSession::Step::kWantRead;
  }
  const ssize_t count = ::recv(handle_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

void ClientSocket::close() {
  if (tls_ != nullptr) tls_->end_sending();
  tls_.reset();
  if (handle_ >= 0) ::close(handle_);
  handle_ = -1;
}

Status ClientSocket::send(std::string_view bytes, std::chrono::milliseconds timeout) {
  while (tls_ != nullptr && !bytes.empty()) {
    std::size_t count = 0;
    const TlsSession::Step step = tls_->write(bytes, count);
    bytes.remove_prefix(count);
    FATHOM_RETURN_IF_ERROR(wait_for(step, timeout).in("send"));
  }
  while (!bytes.empty()) {
    const ssize_t count = ::send(handle_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(count));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      FATHOM_RETURN_IF_ERROR(wait(handle_, POLLOUT, timeout).in("send"));
    } else if (errno != EINTR) {
      return unavailable("send", errno);
    }
  }
  return {};
}

Result<std::size_t> ClientSocket::receive(std::span<char> into, std::chrono::milliseconds timeout) {
  while (true) {
    // Before the socket is looked at, so that a quick peer cannot keep a cancelled client busy.
    if (cancel_ != nullptr && cancel_->load()) return Status(Code::kCancelled, "cancelled");
    if (tls_ != nullptr) {
      std::size_t taken = 0;
      const TlsSession::Step step = tls_->read(into, taken);
      if (step == TlsSession::Step::kDone || step == TlsSession::Step::kEnded) return taken;
      FATHOM_RETURN_IF_ERROR(wait_for(step, timeout).in("receive"));
      continue;
    }
    const ssize_t count = ::recv(handle_, into.data(), into.size(), 0);
    if (count >= 0) return static_cast<std::size_t>(count);
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      FATHOM_RETURN_IF_ERROR(wait(handle_, POLLIN, timeout).in("receive"));
    } else if (errno != EINTR) {
      return unavailable("receive", errno);
    }
  }
}

}  // namespace fathom::http
