#include "http/listener.h"

#include <cerrno>
#include <chrono>
#include <fcntl.h>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/log.h"
#include "http/url.h"

namespace fathom::http {

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

// Without descriptors or memory accept() fails at once, again and again.
constexpr std::chrono::milliseconds kPauseAfterFailure{100};

std::string text(const tcp::endpoint& endpoint) {
  return host_and_port(endpoint.address().to_string(), endpoint.port());
}

std::string reason(const error_code& error) {
  if (error == asio::error::address_in_use) {
    return "another program listens there; stop it or choose another port";
  }
  if (error == asio::error::access_denied) {
    return "permission denied; ports below 1024 need rights, choose another port";
  }
  if (error.value() == EADDRNOTAVAIL) return "this machine has no such address";
  return error.message();
}

// A name may have addresses of a family that this machine does not have.
bool may_be_left_out(const error_code& error) {
  return error.value() == EADDRNOTAVAIL || error.value() == EAFNOSUPPORT;
}

void listen(tcp::acceptor& acceptor, const tcp::endpoint& endpoint, error_code& error) {
  acceptor.open(endpoint.protocol(), error);
  if (error) return;
  // A process that this one starts must not go on listening when this one has ended.
  ::fcntl(acceptor.native_handle(), F_SETFD, FD_CLOEXEC);
  acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
}

Result<std::vector<tcp::endpoint>> resolve(asio::io_context& context,
                                           const std::string& host,
                                           std::uint16_t port) {
  tcp::resolver resolver(context);
  error_code error;
  const auto flags = tcp::resolver::passive | tcp::resolver::numeric_service;
  const auto found = resolver.resolve(host, std::to_string(port), flags, error);
  if (host.empty() || error || found.empty()) {
    return invalid_argument("host '" + host + "' is no address and no known name" +
                            (error ? ": " + error.message() : ""));
  }
  std::vector<tcp::endpoint> endpoints;
  for (const auto& entry : found) endpoints.push_back(entry.endpoint());
  return endpoints;
}

}  // namespace

struct Listener::Sockets {
  asio::io_context& context;
  std::vector<tcp::acceptor> acceptors;
  tcp::endpoint first;
  OnAccepted accepted;
  asio::steady_timer pause;

  explicit Sockets(asio::io_context& of) : context(of), pause(of) {}

  asio::awaitable<void> accept_all(tcp::acceptor& acceptor);
};

Listener::Listener(std::unique_ptr<Sockets> sockets) : sockets_(std::move(sockets)) {}
Listener::~Listener() = default;

Result<std::unique_ptr<Listener>> Listener::create(Worker& worker,
                                                   const std::string& host,
                                                   std::uint16_t port) {
  Result<std::vector<tcp::endpoint>> endpoints = resolve(worker.context(), host, port);
  FATHOM_RETURN_IF_ERROR(endpoints.status());
  auto sockets = std::make_unique<Sockets>(worker.context());
  Status refused;
  for (tcp::endpoint endpoint : *endpoints) {
    // Where the system chooses the port, it chooses one for all addresses.
    if (endpoint.port() == 0) endpoint.port(sockets->first.port());
    tcp::acceptor acceptor(worker.context());
    error_code error;
    listen(acceptor, endpoint, error);
    if (error) {
      refused =
          Status(Code::kUnavailable, "cannot listen on " + text(endpoint) + ": " + reason(error));
      if (may_be_left_out(error)) continue;
      return refused;
    }
    if (sockets->acceptors.empty()) sockets->first = acceptor.local_endpoint(error);
    sockets->acceptors.push_back(std::move(acceptor));
  }
  if (sockets->acceptors.empty()) return refused;
  return std::unique_ptr<Listener>(new Listener(std::move(sockets)));
}

asio::awaitable<void> Listener::Sockets::accept_all(tcp::acceptor& acceptor) {
  while (acceptor.is_open()) {
    error_code error;
    tcp::endpoint peer;
    auto accepting = acceptor.async_accept(peer, asio::redirect_error(asio::use_awaitable, error));
    tcp::socket socket = co_await std::move(accepting);
    if (!error) {
      const auto handle = socket.release(error);
      if (!error) accepted(handle, text(peer));
      continue;
    }
    if (error == asio::error::operation_aborted) co_return;
    if (error == asio::error::connection_aborted) continue;
    log_warning("http: cannot accept a connection: " + error.message());
    pause.expires_after(kPauseAfterFailure);
    auto pausing = pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
    co_await std::move(pausing);
  }
}

void Listener::start(OnAccepted accepted) {
  sockets_->accepted = std::move(accepted);
  for (tcp::acceptor& acceptor : sockets_->acceptors) {
    asio::co_spawn(sockets_->context, sockets_->accept_all(acceptor), asio::detached);
  }
}

void Listener::close() {
  for (tcp::acceptor& acceptor : sockets_->acceptors) {
    error_code ignored;
    acceptor.close(ignored);
  }
  sockets_->pause.cancel();
}

std::uint16_t Listener::port() const { return sockets_->first.port(); }
std::string Listener::address() const { return text(sockets_->first); }

}  // namespace fathom::http
