#include "http/http_testing.h"

#include <arpa/inet.h>
#include <array>
#include <chrono>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <thread>
#include <unistd.h>

#include "base/check.h"
#include "http/response_parser.h"

namespace fathom::http {

bool eventually(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

RawClient::RawClient(std::uint16_t port, int receive_buffer_bytes)
    : handle_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  FATHOM_CHECK(handle_ >= 0);
  if (receive_buffer_bytes != 0) {
    ::setsockopt(handle_, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof(int));
  }
  const int on = 1;
  ::setsockopt(handle_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const timeval patience{kPatience.count(), 0};
  ::setsockopt(handle_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(handle_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(handle_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) close();
}

RawClient::RawClient(RawClient&& other) noexcept
    : handle_(std::exchange(other.handle_, -1)), input_(std::move(other.input_)) {}

RawClient::~RawClient() { close(); }

void RawClient::close() {
  if (handle_ >= 0) ::close(handle_);
  handle_ = -1;
}

void RawClient::abort() {
  const linger at_once{1, 0};
  ::setsockopt(handle_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close();
}

bool RawClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(handle_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

void RawClient::end_sending() { ::shutdown(handle_, SHUT_WR); }

bool RawClient::receive_some() {
  std::array<char, 16384> buffer{};
  const ssize_t count = ::recv(handle_, buffer.data(), buffer.size(), 0);
  if (count <= 0) return false;
  input_.append(buffer.data(), static_cast<std::size_t>(count));
  return true;
}

Response RawClient::receive(bool head_only) {
  ResponseParser parser(head_only);
  std::string body;
  while (true) {
    input_.erase(0, parser.push(input_, body));
    if (parser.stage() == ResponseParser::Stage::kComplete) break;
    if (parser.stage() != ResponseParser::Stage::kFailed && receive_some()) continue;
    parser.end();
    if (parser.stage() != ResponseParser::Stage::kComplete)
      return {.status = 0, .headers = {}, .body = {}};
    break;
  }
  Response response = parser.head();
  response.body = std::move(body);
  return response;
}

std::string RawClient::receive_bytes(std::size_t count) {
  while (input_.size() < count && receive_some()) {
  }
  std::string bytes = input_.substr(0, count);
  input_.erase(0, count);
  return bytes;
}

std::string RawClient::receive_until(std::string_view marker) {
  std::size_t at = input_.find(marker);
  while (at == std::string::npos && receive_some()) at = input_.find(marker);
  if (at == std::string::npos) return std::exchange(input_, {});
  return receive_bytes(at + marker.size());
}

std::string RawClient::receive_rest() {
  while (receive_some()) {
  }
  return std::exchange(input_, {});
}

TestServer::TestServer(const ServerOptions& options, bool started) {
  Result<std::unique_ptr<Server>> server =
      Server::create(options, [this](Request request, std::shared_ptr<Exchange> exchange) {
        handle(std::move(request), std::move(exchange));
      });
  FATHOM_CHECK_MSG(server.ok(), server.status().message());
  server_ = std::move(*server);
  if (started) server_->start();
}

TestServer::~TestServer() = default;

void TestServer::handle(Request request, std::shared_ptr<Exchange> exchange) {
  const std::lock_guard lock(mutex_);
  ++handled_;
  if (request.path == "/echo") return exchange->respond(ok(std::move(request.body)));
  if (request.path == "/hello") return exchange->respond(ok("hello"));
  calls_.push_back({std::move(request), std::move(exchange)});
  arrived_.notify_all();
}

TestServer::Call TestServer::take() {
  std::unique_lock lock(mutex_);
  const bool came = arrived_.wait_for(lock, kPatience, [this] { return !calls_.empty(); });
  FATHOM_CHECK_MSG(came, "no request came");
  Call call = std::move(calls_.front());
  calls_.pop_front();
  return call;
}

std::size_t TestServer::handled() const {
  const std::lock_guard lock(mutex_);
  return handled_;
}

std::string get(std::string_view path, std::string_view more_headers) {
  return "GET " + std::string(path) + " HTTP/1.1\r\nHost: test\r\n" + std::string(more_headers) +
         "\r\n";
}

std::string post(std::string_view path, std::string_view body, std::string_view more_headers) {
  return "POST " + std::string(path) +
         " HTTP/1.1\r\nHost: test\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
         std::string(more_headers) + "\r\n" + std::string(body);
}

Response ok(std::string body) { return {.status = 200, .headers = {}, .body = std::move(body)}; }

}  // namespace fathom::http
