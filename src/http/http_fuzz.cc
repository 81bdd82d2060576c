// Any bytes from a client or a server: what comes out does not depend on how they are cut.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "http/event_parser.h"
#include "http/request_parser.h"
#include "http/response_parser.h"
#include "http/url.h"

namespace fathom::http {
namespace {

constexpr RequestLimits kLimits{.max_header_bytes = 2000, .max_body_bytes = 1000};

void append(std::string& told, const Request& request) {
  FATHOM_CHECK(request.body.size() <= kLimits.max_body_bytes);
  const auto line = [&](std::string_view text) { told.append(text).append("\n"); };
  line(request.method);
  line(request.path);
  line(request.query);
  for (const auto& [name, value] : request.headers.all()) {
    line(name);
    line(value);
  }
  line(request.body);
}

// All requests in `text`, told as one string. A head without an end may be refused as soon as it is
// wrong or later.
std::string requests(std::string_view text, std::size_t piece) {
  using Stage = RequestParser::Stage;
  RequestParser parser(kLimits);
  std::string told;
  std::string waiting;
  while (true) {
    waiting.erase(0, parser.push(waiting));
    if (parser.stage() == Stage::kRefused) return told + "refused";
    if (parser.stage() == Stage::kComplete) {
      append(told, parser.take());
      continue;
    }
    if (text.empty()) return told + (parser.stage() == Stage::kHead ? "refused" : "");
    const std::size_t size = std::min(piece, text.size());
    waiting += text.substr(0, size);
    text.remove_prefix(size);
  }
}

// The answer in `text`, and the events in its body.
std::string answer(std::string_view text, std::size_t piece) {
  using Stage = ResponseParser::Stage;
  ResponseParser parser(/*head_only=*/false);
  EventParser events;
  std::string told;
  std::string waiting;
  while (parser.stage() != Stage::kFailed && parser.stage() != Stage::kComplete) {
    const std::size_t size = std::min(piece, text.size());
    if (size == 0) parser.end();
    waiting += text.substr(0, size);
    text.remove_prefix(size);
    std::string body;
    waiting.erase(0, parser.push(waiting, body));
    events.push(body, [&](std::string_view data) {
      told += data;
      told += '\n';
      return true;
    });
  }
  return parser.stage() == Stage::kFailed ? told : told + std::to_string(parser.head().status);
}

}  // namespace
}  // namespace fathom::http

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer gives the name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t piece = 1 + data[0] % 16;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  FATHOM_CHECK(fathom::http::requests(text, size) == fathom::http::requests(text, piece));
  FATHOM_CHECK(fathom::http::answer(text, size) == fathom::http::answer(text, piece));
  static_cast<void>(fathom::http::parse_url(text));
  return 0;
}
