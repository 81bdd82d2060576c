#include "system/raw_connections.h"

#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <charconv>
#include <netinet/in.h>
#include <optional>
#include <sys/socket.h>
#include <unistd.h>

#include <poll.h>

#include "base/check.h"

namespace fathom::system_test {

namespace {

using Clock = std::chrono::steady_clock;

// Cuts the line that `bytes` begins with, without its end; nothing when it has none yet.
std::optional<std::string_view> take_line(std::string_view& bytes) {
  const std::size_t end = bytes.find("\r\n");
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view line = bytes.substr(0, end);
  bytes.remove_prefix(end + 2);
  return line;
}

std::optional<std::size_t> number_of(std::string_view text, int base) {
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{}) return std::nullopt;
  return value;
}

// True when the last chunk has come.
bool take_chunks(std::string_view& bytes, std::string& body) {
  while (true) {
    const auto line = take_line(bytes);
    const auto size = line ? number_of(*line, 16) : std::nullopt;
    if (!size || bytes.size() < *size + 2) return false;
    body += bytes.substr(0, *size);
    bytes.remove_prefix(*size + 2);
    if (*size == 0) return true;
  }
}

}  // namespace

std::string request_text(std::string_view path, std::string_view body, std::string_view more) {
  std::string text = body.empty() ? "GET " : "POST ";
  text += path;
  text += " HTTP/1.1\r\nHost: test\r\n";
  text += more;
  if (!body.empty()) {
    text +=
        "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
  }
  text += "\r\n";
  text += body;
  return text;
}

std::string last_request_text(std::string_view path, std::string_view body) {
  return request_text(path, body, "Connection: close\r\n");
}

RawAnswer parse_answer(std::string_view bytes) {
  RawAnswer answer;
  while (bytes.starts_with("HTTP/1.1 1")) {
    const std::size_t end = bytes.find("\r\n\r\n");
    if (end == std::string_view::npos) return answer;
    bytes.remove_prefix(end + 4);
  }
  const auto status_line = take_line(bytes);
  if (!status_line) return answer;
  std::optional<std::size_t> length;
  bool chunked = false;
  while (true) {
    const auto line = take_line(bytes);
    if (!line) return answer;
    if (line->empty()) break;
    constexpr std::string_view kLength = "Content-Length: ";
    if (line->starts_with(kLength)) length = number_of(line->substr(kLength.size()), 10);
    if (*line == "Transfer-Encoding: chunked") chunked = true;
  }
  answer.status = static_cast<int>(number_of(status_line->substr(9), 10).value_or(0));
  if (chunked) {
    answer.whole = take_chunks(bytes, answer.body);
  } else {
    answer.whole = length && bytes.size() >= *length;
    answer.body = bytes.substr(0, length.value_or(bytes.size()));
    bytes.remove_prefix(answer.body.size());
  }
  if (answer.whole) answer.rest = bytes;
  return answer;
}

std::vector<std::string> events_of(std::string_view body) {
  constexpr std::string_view kData = "data: ";
  std::vector<std::string> events;
  for (std::size_t end = body.find("\n\n"); end != std::string_view::npos;
       end = body.find("\n\n")) {
    const std::string_view event = body.substr(0, end);
    if (event.starts_with(kData)) events.emplace_back(event.substr(kData.size()));
    body.remove_prefix(end + 2);
  }
  return events;
}

RawConnections::~RawConnections() {
  for (std::size_t i = 0; i < all_.size(); ++i) close(i);
}

std::size_t RawConnections::open(std::string_view bytes, int receive_buffer) {
  Connection made;
  made.descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  FATHOM_CHECK(made.descriptor >= 0);
  if (receive_buffer > 0) {
    setsockopt(made.descriptor, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  }
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port_);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  FATHOM_CHECK(connect(made.descriptor,
                       reinterpret_cast<const sockaddr*>(&to),  // NOLINT: the system's interface
                       sizeof to) == 0);
  all_.push_back(std::move(made));
  send(all_.size() - 1, bytes);
  return all_.size() - 1;
}

void RawConnections::send(std::size_t index, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(all_[index].descriptor, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0) return;  // the server has refused the rest
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

void RawConnections::shut_sending(std::size_t index) { shutdown(all_[index].descriptor, SHUT_WR); }

void RawConnections::close(std::size_t index) {
  if (all_[index].descriptor >= 0) ::close(all_[index].descriptor);
  all_[index].descriptor = -1;
  all_[index].ended = true;
}

bool RawConnections::read_until(std::size_t first,
                                std::size_t last,
                                const std::function<bool()>& done,
                                std::chrono::milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  std::vector<char> buffer(1 << 16);
  std::vector<pollfd> waiting;
  std::vector<std::size_t> indexes;
  while (!done()) {
    waiting.clear();
    indexes.clear();
    for (std::size_t i = first; i < last; ++i) {
      if (all_[i].ended) continue;
      waiting.push_back({all_[i].descriptor, POLLIN, 0});
      indexes.push_back(i);
    }
    if (waiting.empty()) return true;
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) return false;
    if (poll(waiting.data(), waiting.size(), static_cast<int>(left.count())) <= 0) continue;
    for (std::size_t i = 0; i < waiting.size(); ++i) {
      if (waiting[i].revents == 0) continue;
      Connection& connection = all_[indexes[i]];
      const ssize_t count = recv(connection.descriptor, buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (count > 0) {
        connection.received.append(buffer.data(), static_cast<std::size_t>(count));
      } else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
        connection.ended = true;
      }
    }
  }
  return true;
}

bool RawConnections::read_all(std::chrono::milliseconds timeout) {
  return read_until(
      0, all_.size(), [] { return false; }, timeout);
}

}  // namespace fathom::system_test
