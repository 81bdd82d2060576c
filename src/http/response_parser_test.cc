#include "http/response_parser.h"

#include <algorithm>
#include <string>

#include <gtest/gtest.h>

namespace fathom::http {
namespace {

using Stage = ResponseParser::Stage;

// Feeds pieces of `piece` bytes, then the end.
Stage feed(ResponseParser& parser, std::string_view text, std::size_t piece, std::string& body) {
  std::string waiting;
  while (!text.empty() && parser.stage() != Stage::kComplete && parser.stage() != Stage::kFailed) {
    waiting += text.substr(0, piece);
    text.remove_prefix(std::min(piece, text.size()));
    waiting.erase(0, parser.push(waiting, body));
  }
  if (parser.stage() != Stage::kComplete) parser.end();
  return parser.stage();
}

TEST(ResponseParser, ReadsEveryKindOfAnswerHoweverItIsCut) {
  const struct {
    std::string text;
    bool head_only;
    bool keep_alive;
    int status;
    std::string body;
  } cases[] = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", false, true, 200, "abc"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\n\r\n",
       false, true, 200, "abc"},
      {"HTTP/1.1 200 OK\r\n\r\nabc", false, false, 200, "abc"},
      {"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", false, false, 200, "abc"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", true, true, 200, ""},
      {"HTTP/1.1 204 No Content\r\n\r\n", false, true, 204, ""},
      {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
       "HTTP/1.1 404 \r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
       false, false, 404, ""},
  };

  for (const auto& each : cases) {
    for (std::size_t piece = 1; piece <= each.text.size(); ++piece) {
      ResponseParser parser(each.head_only);
      std::string body;
      ASSERT_EQ(feed(parser, each.text, piece, body), Stage::kComplete) << each.text << piece;
      EXPECT_EQ(parser.head().status, each.status) << each.text;
      EXPECT_EQ(parser.keep_alive(), each.keep_alive) << each.text;
      EXPECT_EQ(body, each.body) << each.text << piece;
    }
  }
}

TEST(ResponseParser, RefusesWhatBreaksOffOrIsNotHttp) {
  const std::string cases[] = {
      "",
      "HTTP/1.1 200 OK\r\nContent-",
      "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
      "HTTP/1.1 100 Continue\r\n\r\n",
      "SSH-2.0-OpenSSH_9.2\r\n",
      "HTTP/1.1 200 OK\r\nX: " + std::string(1 << 20, 'x'),
  };

  for (const std::string& text : cases) {
    ResponseParser parser(false);
    std::string body;
    EXPECT_EQ(feed(parser, text, 5000, body), Stage::kFailed) << text.substr(0, 80);
    EXPECT_NE(parser.failure(), "");
  }
}

}  // namespace
}  // namespace fathom::http
