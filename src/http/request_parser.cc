#include "http/request_parser.h"

#include <algorithm>
#include <limits>
#include <utility>

#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>

#include "base/check.h"
#include "http/target.h"

namespace fathom::http {

namespace {

namespace beast = boost::beast;

std::string text(beast::string_view view) { return {view.data(), view.size()}; }

// Whether the first line ends like that of a version we do not speak, rather than like nothing.
bool names_a_version(std::string_view bytes) {
  const std::string_view line = bytes.substr(0, bytes.find('\r'));
  const std::size_t at = line.rfind(" HTTP/");
  if (at == std::string_view::npos) return false;
  const std::string_view version = line.substr(at + 6);
  return !version.empty() &&
         std::ranges::all_of(version, [](char c) { return (c >= '0' && c <= '9') || c == '.'; });
}

}  // namespace

struct RequestParser::Head {
  beast::http::request_parser<beast::http::empty_body> parser;
};

RequestParser::RequestParser(const RequestLimits& limits) : limits_(limits) {}

RequestParser::~RequestParser() = default;

std::size_t RequestParser::push(std::string_view bytes) {
  std::size_t used = 0;
  if (stage_ == Stage::kIdle) {
    // An empty line before a request is what some clients leave behind a body.
    while (bytes.substr(used).starts_with("\r\n")) used += 2;
    const std::string_view rest = bytes.substr(used);
    if (rest.empty() || rest == "\r") return used;
    stage_ = Stage::kHead;
    head_bytes_ = 0;
    seen_bytes_ = 0;
    head_ = std::make_unique<Head>();
    head_->parser.header_limit(static_cast<std::uint32_t>(std::min<std::size_t>(
        limits_.max_header_bytes, std::numeric_limits<std::uint32_t>::max())));
    head_->parser.body_limit(boost::none);  // begin_body() knows better what to say
  }
  if (stage_ == Stage::kHead) used += push_head(bytes.substr(used));
  if (stage_ == Stage::kBody) used += push_body(bytes.substr(used));
  return used;
}

// Beast waits for "\r\n\r\n" whatever comes before, so a peer that ends lines with '\n' alone would
// wait with it. Looks at each byte of the head once. `bytes` begins with a line.
bool RequestParser::has_bare_line_end(std::string_view bytes) {
  const std::size_t seen = std::min(seen_bytes_ - head_bytes_, bytes.size());
  std::size_t end = bytes.find("\r\n\r\n", seen - std::min<std::size_t>(seen, 3));
  if (bytes.starts_with("\r\n")) end = 0;
  const std::string_view head = bytes.substr(0, end);
  seen_bytes_ = head_bytes_ + bytes.size();
  std::size_t at = head.find('\n', seen);
  while (at != std::string_view::npos && at > 0 && head[at - 1] == '\r') {
    at = head.find('\n', at + 1);
  }
  return at != std::string_view::npos;
}

std::size_t RequestParser::push_head(std::string_view bytes) {
  if (has_bare_line_end(bytes)) {
    refuse(400, "malformed request: a line ends without a carriage return");
    return 0;
  }
  std::size_t used = 0;
  beast::error_code error;
  while (!error && !head_->parser.is_header_done() && used < bytes.size()) {
    const boost::asio::const_buffer rest(bytes.data() + used, bytes.size() - used);
    used += head_->parser.put(rest, error);
  }
  head_bytes_ += used;
  const bool waits = error == beast::http::error::need_more;
  if (head_bytes_ + (waits ? bytes.size() - used : 0) > limits_.max_header_bytes) {
    error = beast::http::error::header_limit;
  }
  if (error && error != beast::http::error::need_more) {
    refuse_head(error.value(), bytes);
    return used;
  }
  if (head_->parser.is_header_done()) begin_body();
  return used;
}

void RequestParser::refuse_head(int code, std::string_view bytes) {
  const auto error = static_cast<beast::http::error>(code);
  if (error == beast::http::error::header_limit) {
    return refuse(431, "the request's head is longer than " +
                           std::to_string(limits_.max_header_bytes) + " bytes");
  }
  if (error == beast::http::error::bad_version && names_a_version(bytes)) {
    return refuse(505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
  }
  refuse(400, "malformed request: " + beast::http::make_error_code(error).message());
}

void RequestParser::begin_body() {
  const auto& parser = head_->parser;
  const auto& message = parser.get();
  keep_alive_ = parser.keep_alive();
  http11_ = message.version() == 11;
  expects_continue_ = false;
  fill_request();

  const auto hosts = message.count(beast::http::field::host);
  if (hosts > 1 || (http11_ && hosts == 0)) {
    return refuse(400, "expected one Host header, there are " + std::to_string(hosts));
  }
  Result<Target> target = parse_target(request_.target);
  if (!target.ok()) return refuse(400, target.status().message());
  request_.path = std::move(target->path);
  request_.query = std::move(target->query);

  const std::string* const coding = request_.headers.find("Transfer-Encoding");
  if (coding != nullptr && !http11_) {
    return refuse(400, "Transfer-Encoding does not exist in HTTP/1.0");
  }
  if (coding != nullptr && !same_word(*coding, "chunked")) {
    return refuse(501, "Transfer-Encoding is '" + *coding + "'; only 'chunked' is understood");
  }
  const auto length = parser.content_length();
  if (length && *length > limits_.max_body_bytes) {
    return refuse(413, "the body has " + std::to_string(*length) + " bytes, at most " +
                           std::to_string(limits_.max_body_bytes) + " are taken");
  }
  if (const std::string* const expected = request_.headers.find("Expect"); expected && http11_) {
    if (!same_word(*expected, "100-continue")) {
      return refuse(417, "Expect is '" + *expected + "'; only '100-continue' is understood");
    }
    expects_continue_ = true;
  }
  body_ = coding != nullptr ? BodyDecoder::chunked(limits_.max_body_bytes)
                            : BodyDecoder::of_length(length.value_or(0));
  head_.reset();
  stage_ = body_.state() == BodyDecoder::State::kDone ? Stage::kComplete : Stage::kBody;
}

void RequestParser::fill_request() {
  const auto& message = head_->parser.get();
  request_ = {};
  request_.method = text(message.method_string());
  request_.target = text(message.target());
  for (const auto& field : message) {
    request_.headers.add(text(field.name_string()), text(field.value()));
  }
}

std::size_t RequestParser::push_body(std::string_view bytes) {
  const std::size_t used = body_.push(bytes, request_.body);
  switch (body_.state()) {
    case BodyDecoder::State::kMore:
      break;
    case BodyDecoder::State::kDone:
      stage_ = Stage::kComplete;
      break;
    case BodyDecoder::State::kTooLarge:
      refuse(413, "the body has more than " + std::to_string(limits_.max_body_bytes) + " bytes");
      break;
    case BodyDecoder::State::kMalformed:
      refuse(400, "malformed chunked body");
      break;
  }
  return used;
}

void RequestParser::refuse(int status, std::string message) {
  head_.reset();
  request_ = {};
  refusal_ = {status, std::move(message)};
  stage_ = Stage::kRefused;
}

Request RequestParser::take() {
  FATHOM_CHECK(stage_ == Stage::kComplete);
  stage_ = Stage::kIdle;
  return std::exchange(request_, {});
}

}  // namespace fathom::http
