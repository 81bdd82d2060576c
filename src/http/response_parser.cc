#include "http/response_parser.h"

#include <utility>

#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>

namespace fathom::http {

namespace {

namespace beast = boost::beast;

constexpr std::uint32_t kMaxHeadBytes = 256 << 10;

std::string text(beast::string_view view) { return {view.data(), view.size()}; }

}  // namespace

struct ResponseParser::Head {
  beast::http::response_parser<beast::http::empty_body> parser;

  Head() {
    parser.header_limit(kMaxHeadBytes);
    parser.body_limit(boost::none);
  }
};

ResponseParser::ResponseParser(bool head_only)
    : head_only_(head_only), head_(std::make_unique<Head>()) {}

ResponseParser::~ResponseParser() = default;

std::size_t ResponseParser::push(std::string_view bytes, std::string& body) {
  std::size_t used = 0;
  while (stage_ == Stage::kHead && used < bytes.size()) {
    const std::size_t now = push_head(bytes.substr(used));
    used += now;
    if (now == 0) break;
  }
  if (stage_ != Stage::kBody) return used;
  used += body_.push(bytes.substr(used), body);
  note_body_state();
  return used;
}

std::size_t ResponseParser::push_head(std::string_view bytes) {
  std::size_t used = 0;
  beast::error_code error;
  while (!error && !head_->parser.is_header_done() && used < bytes.size()) {
    const boost::asio::const_buffer rest(bytes.data() + used, bytes.size() - used);
    used += head_->parser.put(rest, error);
  }
  if (error && error != beast::http::error::need_more) {
    fail("malformed answer: " + error.message());
  } else if (head_->parser.is_header_done()) {
    begin_body();
  }
  return used;
}

void ResponseParser::begin_body() {
  const auto& parser = head_->parser;
  const auto& message = parser.get();
  const auto status = static_cast<int>(message.result_int());
  if (status / 100 == 1 && status != 101) {
    head_ = std::make_unique<Head>();
    return;
  }
  response_.status = status;
  for (const auto& field : message) {
    response_.headers.add(text(field.name_string()), text(field.value()));
  }
  keep_alive_ = parser.keep_alive();
  const bool bodiless = head_only_ || status == 101 || status == 204 || status == 304;
  const std::string* const coding = response_.headers.find("Transfer-Encoding");
  if (bodiless) {
    body_ = BodyDecoder::none();
  } else if (coding != nullptr && !same_word(*coding, "chunked")) {
    return fail("Transfer-Encoding is '" + *coding + "'; only 'chunked' is understood");
  } else if (coding != nullptr) {
    body_ = BodyDecoder::chunked();
  } else if (const auto length = parser.content_length()) {
    body_ = BodyDecoder::of_length(*length);
  } else {
    body_ = BodyDecoder::until_end();
    keep_alive_ = false;
  }
  head_.reset();
  stage_ = Stage::kBody;
  note_body_state();
}

void ResponseParser::note_body_state() {
  switch (body_.state()) {
    case BodyDecoder::State::kMore:
      break;
    case BodyDecoder::State::kDone:
      stage_ = Stage::kComplete;
      break;
    case BodyDecoder::State::kTooLarge:
    case BodyDecoder::State::kMalformed:
      fail("malformed chunked body");
      break;
  }
}

void ResponseParser::end() {
  if (stage_ == Stage::kHead) fail("the peer closed before it had answered");
  if (stage_ != Stage::kBody) return;
  body_.end();
  if (body_.state() == BodyDecoder::State::kDone) {
    stage_ = Stage::kComplete;
  } else {
    fail("the peer closed in the middle of its answer");
  }
}

void ResponseParser::fail(std::string why) {
  head_.reset();
  failure_ = std::move(why);
  stage_ = Stage::kFailed;
}

}  // namespace fathom::http
