#include "http/request_parser.h"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace fathom::http {
namespace {

using Stage = RequestParser::Stage;

// Feeds `bytes` in pieces of `piece` bytes, as a connection would; stops at a request or a refusal.
// `bytes` keeps what was not used.
Stage feed(RequestParser& parser, std::string& bytes, std::size_t piece) {
  std::string waiting;
  std::size_t at = 0;
  while (true) {
    waiting.erase(0, parser.push(waiting));
    if (parser.stage() == Stage::kComplete || parser.stage() == Stage::kRefused) break;
    if (at == bytes.size()) break;
    waiting += bytes.substr(at, piece);
    at = std::min(at + piece, bytes.size());
  }
  bytes.erase(0, at);
  bytes.insert(0, waiting);
  return parser.stage();
}

int refusal_of(const std::string& text, const RequestLimits& limits = {}) {
  int status = 0;
  for (const std::size_t piece : {text.size(), std::size_t{1}}) {
    RequestParser parser(limits);
    std::string bytes = text;
    feed(parser, bytes, piece);
    const int now = parser.stage() == Stage::kRefused ? parser.refusal().status : 0;
    if (piece == text.size()) status = now;
    EXPECT_EQ(now, status) << text << " in pieces of " << piece;
  }
  return status;
}

TEST(RequestParser, ReadsARequestHoweverItIsCut) {
  const std::string text =
      "POST /a%20b/c?x=%31 HTTP/1.1\r\nHost: h\r\nX-Y:  some thing \r\nContent-Length: "
      "5\r\n\r\nhello";

  for (std::size_t cut = 1; cut <= text.size(); ++cut) {
    RequestParser parser({});
    std::string bytes = text;
    ASSERT_EQ(feed(parser, bytes, cut), Stage::kComplete) << cut;
    EXPECT_TRUE(parser.keep_alive());
    const Request request = parser.take();
    EXPECT_EQ(request.method, "POST");
    EXPECT_EQ(request.target, "/a%20b/c?x=%31");
    EXPECT_EQ(request.path, "/a b/c");
    EXPECT_EQ(request.query, "x=%31");
    ASSERT_NE(request.headers.find("x-y"), nullptr);
    EXPECT_EQ(*request.headers.find("x-y"), "some thing");
    EXPECT_EQ(request.body, "hello");
    EXPECT_EQ(bytes, "");
  }
}

TEST(RequestParser, ReadsAChunkedBodyCutInTwoAnywhere) {
  const std::string text =
      "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
      "5\r\nhello\r\n00A;name=\"value\"\r\n0123456789\r\n0\r\nTrailer: dropped\r\n\r\n";

  for (std::size_t cut = 1; cut < text.size(); ++cut) {
    RequestParser parser({});
    std::string first = text.substr(0, cut);
    feed(parser, first, first.size());
    std::string rest = first;
    rest += text.substr(cut);
    ASSERT_EQ(feed(parser, rest, rest.size()), Stage::kComplete) << cut;
    const Request request = parser.take();
    EXPECT_EQ(request.body, "hello0123456789");
    EXPECT_EQ(request.headers.find("Trailer"), nullptr);
  }
}

TEST(RequestParser, ReadsRequestsOneBehindTheOther) {
  const std::string one = "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n";
  const std::string two =
      "\r\nPOST /2 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
  const std::string three = "GET /3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{4096}}) {
    RequestParser parser({});
    std::string bytes = one;
    bytes += two + three;
    std::vector<std::string> paths;
    while (feed(parser, bytes, piece) == Stage::kComplete) paths.push_back(parser.take().path);
    EXPECT_EQ(paths, (std::vector<std::string>{"/1", "/2", "/3"}));
    EXPECT_FALSE(parser.keep_alive());
    EXPECT_EQ(parser.stage(), Stage::kIdle);
  }
}

TEST(RequestParser, RefusesWhatIsMalformed) {
  const std::string start = "GET / HTTP/1.1\r\nHost: h\r\n";
  const std::string chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  const struct {
    std::string text;
    int status;
  } cases[] = {
      {start + "\r\n", 0},
      {"GET /\r\n\r\n", 400},
      {"GET / HTTP/1.1\nHost: h\n\n", 400},
      {"GET / HTTP/1.1\r\nHost: h\n\r\n", 400},
      {"\n\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"G@T / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {" GET / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"\x16\x03\x01\x02\x01\x01\xfc\x03\x03", 400},
      {"GET / HTTP/1.1\r\n\r\n", 400},
      {start + "Host: again\r\n\r\n", 400},
      {"GET / HTTP/1.0\r\n\r\n", 0},
      {"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505},
      {"GET / HTTP/0.9\r\nHost: h\r\n\r\n", 505},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"GET / HTTP/x\r\nHost: h\r\n\r\n", 400},
      {"GET / FTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET nowhere HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"CONNECT host:80 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET http://h/x HTTP/1.1\r\nHost: h\r\n\r\n", 0},
      {"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 0},
      {"GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET /%4 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {start + "Bad Name: x\r\n\r\n", 400},
      {start + "NoColon\r\n\r\n", 400},
      {start + ": empty\r\n\r\n", 400},
      {start + "X: a\x01z\r\n\r\n", 400},
      {start + "Content-Length: -1\r\n\r\n", 400},
      {start + "Content-Length: 1x\r\n\r\n", 400},
      {start + "Content-Length: 99999999999999999999999\r\n\r\n", 400},
      {start + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
      {start + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {start + "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400},
      {start + "Transfer-Encoding: gzip\r\n\r\n", 501},
      {start + "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
      {"GET / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {start + "Expect: miracles\r\n\r\n", 417},
      {chunked + "x\r\n", 400},
      {chunked + "\r\n", 400},
      {chunked + "5 \r\nhello", 400},
      {chunked + "5\nhello", 400},
      {chunked + "-5\r\nhello", 400},
      {chunked + "0x5\r\nhello", 400},
      {chunked + "5\r\nhello!", 400},
      {chunked + "5\r\nhello\rx", 400},
      {chunked + "00000000000000005\r\nhello", 400},
      {chunked + "FFFFFFFFFFFFFFFF\r\n", 413},
      {chunked + "0\r\n\rx", 400},
      {chunked + "0\r\nTrailer\n\r\n", 400},
      {chunked + "0\r\n\r\n", 0},
  };

  for (const auto& each : cases) EXPECT_EQ(refusal_of(each.text), each.status) << each.text;
}

TEST(RequestParser, KeepsToItsLimits) {
  const RequestLimits limits{.max_header_bytes = 200, .max_body_bytes = 10};
  const std::string head = "GET / HTTP/1.1\r\nHost: h\r\nX: ";
  const std::string fits = head + std::string(200 - head.size() - 4, 'x');
  const std::string body = "POST / HTTP/1.1\r\nHost: h\r\n";

  EXPECT_EQ(refusal_of(fits + "\r\n\r\n", limits), 0);
  EXPECT_EQ(refusal_of(fits + "x\r\n\r\n", limits), 431);
  EXPECT_EQ(refusal_of(head + std::string(100'000, 'x'), limits), 431);
  EXPECT_EQ(refusal_of("GET /" + std::string(300, 'x'), limits), 431);
  EXPECT_EQ(refusal_of(body + "Content-Length: 10\r\n\r\n0123456789", limits), 0);
  EXPECT_EQ(refusal_of(body + "Content-Length: 11\r\n\r\n", limits), 413);
  const std::string chunked = body + "Transfer-Encoding: chunked\r\n\r\n";
  EXPECT_EQ(refusal_of(chunked + "5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n", limits), 0);
  EXPECT_EQ(refusal_of(chunked + "5\r\n01234\r\n6\r\n", limits), 413);
  EXPECT_EQ(refusal_of(chunked + "5;" + std::string(100'000, 'x'), limits), 400);
  EXPECT_EQ(refusal_of(chunked + "0\r\n" + std::string(100'000, 'x'), limits), 400);
}

TEST(RequestParser, TellsWhatThePeerWantsAfterwards) {
  const struct {
    const char* text;
    bool keep_alive;
  } cases[] = {
      {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", true},
      {"GET / HTTP/1.1\r\nHost: h\r\nConnection: Close\r\n\r\n", false},
      {"GET / HTTP/1.1\r\nHost: h\r\nConnection: x, close\r\n\r\n", false},
      {"GET / HTTP/1.0\r\n\r\n", false},
      {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true},
  };

  for (const auto& each : cases) {
    RequestParser parser({});
    std::string bytes = each.text;
    ASSERT_EQ(feed(parser, bytes, bytes.size()), Stage::kComplete) << each.text;
    EXPECT_EQ(parser.keep_alive(), each.keep_alive) << each.text;
  }
}

TEST(RequestParser, SaysThatThePeerWaitsForContinue) {
  RequestParser parser({});
  std::string bytes =
      "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n";

  EXPECT_EQ(feed(parser, bytes, 1), Stage::kBody);
  EXPECT_TRUE(parser.expects_continue());
  bytes = "x";
  EXPECT_EQ(feed(parser, bytes, 1), Stage::kComplete);
}

}  // namespace
}  // namespace fathom::http
