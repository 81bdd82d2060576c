#include "http/client.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "http/client_socket.h"
#include "http/response_parser.h"

namespace fathom::http {

namespace {

constexpr std::size_t kReadBytes = 16 << 10;

// What may be sent again when nobody knows whether it was done.
bool repeatable(std::string_view method) {
  constexpr std::array<std::string_view, 5> kMethods = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"};
  return std::ranges::find(kMethods, method) != kMethods.end();
}

bool is_client_business(std::string_view name) {
  return same_word(name, "Host") || same_word(name, "Content-Length") ||
         same_word(name, "Transfer-Encoding");
}

std::string target_of(const Request& request) {
  if (!request.target.empty()) return request.target;
  return request.query.empty() ? request.path : request.path + "?" + request.query;
}

Result<std::string> head_of(const Url& url, const Request& request) {
  std::string target = url.path + target_of(request);
  if (target.empty()) target = "/";
  std::string head = request.method;
  head += " " + target + " HTTP/1.1\r\nHost: " + url.authority() + "\r\n";
  for (const auto& [name, value] : request.headers.all()) {
    if (is_client_business(name)) continue;
    std::string line = name;
    line += ": " + value;
    if (line.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos) {
      return invalid_argument("header '" + name + "' has a line end or a NUL in it");
    }
    head += line + "\r\n";
  }
  if (!request.body.empty() || request.method == "POST" || request.method == "PUT") {
    head += "Content-Length: " + std::to_string(request.body.size()) + "\r\n";
  }
  return head + "\r\n";
}

}  // namespace

struct Client::State {
  Url url;
  ClientOptions options;
  ClientSocket socket;
  bool answered = false;                  // the peer has said something to the last request
  std::shared_ptr<const TlsContext> tls;  // once it was needed

  State(Url to, const ClientOptions& with)
      : url(std::move(to)), options(with), socket(with.cancel) {}

  Status connect();
  Result<Response> exchange(const Request& request,
                            const std::string& bytes,
                            const std::function<void(const Response& head)>& on_head,
                            const std::function<bool(std::string_view piece)>& on_piece);
  Status receive(ResponseParser& parser,
                 const std::function<void(const Response& head)>& on_head,
                 const std::function<bool(std::string_view piece)>& on_piece);
};

Client::Client(Url url, const ClientOptions& options)
    : state_(std::make_unique<State>(std::move(url), options)) {}

Client::~Client() = default;

Status Client::State::connect() {
  if (url.secure && tls == nullptr) {
    auto made = TlsContext::for_client(options.trust);
    FATHOM_RETURN_IF_ERROR(made.status());
    tls = *made;
  }
  FATHOM_RETURN_IF_ERROR(socket.connect(url.host, url.port, options.connect_timeout));
  if (!url.secure) return {};
  return socket.secure(tls, url.host, options.connect_timeout).in(url.origin());
}

// One request over the open socket, which stays open only when another one may follow.
Result<Response> Client::State::exchange(
    const Request& request,
    const std::string& bytes,
    const std::function<void(const Response& head)>& on_head,
    const std::function<bool(std::string_view piece)>& on_piece) {
  answered = false;
  // A peer may refuse in the middle of a body and close: what it said is worth more than that
  // sending failed.
  const Status sending = socket.send(bytes, options.read_timeout);
  if (!sending.ok() && sending.code() != Code::kUnavailable) return sending;
  ResponseParser parser(request.method == "HEAD");
  const Status receiving = receive(parser, on_head, on_piece);
  if (!receiving.ok()) return sending.ok() ? receiving : sending;
  if (!sending.ok()) socket.close();
  return parser.head();
}

// Until the answer is complete or `on_piece` has enough of it.
Status Client::State::receive(ResponseParser& parser,
                              const std::function<void(const Response& head)>& on_head,
                              const std::function<bool(std::string_view piece)>& on_piece) {
  using Stage = ResponseParser::Stage;
  std::array<char, kReadBytes> buffer{};
  std::string input;
  bool told_head = false;
  while (parser.stage() != Stage::kComplete) {
    const Result<std::size_t> count = socket.receive(buffer, options.read_timeout);
    FATHOM_RETURN_IF_ERROR(count.status());
    if (*count == 0) parser.end();
    if (*count != 0) answered = true;
    input.append(buffer.data(), *count);
    std::string piece;
    input.erase(0, parser.push(input, piece));
    if (parser.stage() == Stage::kFailed) return {Code::kUnavailable, parser.failure()};
    if (parser.stage() == Stage::kHead) continue;
    if (!std::exchange(told_head, true)) on_head(parser.head());
    if (!piece.empty() && !on_piece(piece)) {
      socket.close();
      return {};
    }
  }
  if (!parser.keep_alive() || !input.empty()) socket.close();
  return {};
}

Result<Response> Client::stream(const Request& request,
                                const std::function<void(const Response& head)>& on_head,
                                const std::function<bool(std::string_view piece)>& on_piece) {
  State& state = *state_;
  Result<std::string> bytes = head_of(state.url, request);
  FATHOM_RETURN_IF_ERROR(bytes.status());
  *bytes += request.body;
  const std::string where = state.url.origin();
  while (true) {
    const bool kept = state.socket.is_fresh();
    if (!kept) {
      state.socket.close();
      FATHOM_RETURN_IF_ERROR(state.connect());
    }
    Result<Response> response = state.exchange(request, *bytes, on_head, on_piece);
    if (response.ok()) return response;
    state.socket.close();
    // A kept connection may have been closed while the request was on its way.
    const bool closed_before = kept && !state.answered && repeatable(request.method) &&
                               response.status().code() == Code::kUnavailable;
    if (!closed_before) return response.status().in(where);
  }
}

Result<Response> Client::send(const Request& request) {
  std::string body;
  bool too_large = false;
  Result<Response> response = stream(
      request, [](const Response&) {},
      [&](std::string_view piece) {
        too_large = body.size() + piece.size() > state_->options.max_body_bytes;
        body += piece;
        return !too_large;
      });
  if (too_large) {
    return Status(
        Code::kUnavailable,
        "the answer has more than " + std::to_string(state_->options.max_body_bytes) + " bytes");
  }
  if (response.ok()) response->body = std::move(body);
  return response;
}

}  // namespace fathom::http
