// What is read and written as text: targets, URLs, events, heads of answers.

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "http/event_parser.h"
#include "http/response_head.h"
#include "http/target.h"
#include "http/url.h"

namespace fathom::http {
namespace {

TEST(Target, IsSplitAndDecoded) {
  const struct {
    const char* text;
    const char* path;
    const char* query;
  } cases[] = {
      {"/", "/", ""},
      {"/a/b?c=d&e=%20", "/a/b", "c=d&e=%20"},
      {"/%41%c3%A4+%2f", "/A\xc3\xa4+/", ""},
      {"/a?b?c", "/a", "b?c"},
      {"http://host:1/p?q", "/p", "q"},
      {"HTTP://host", "/", ""},
      {"http://host?q", "/", "q"},
      {"*", "*", ""},
  };

  for (const auto& each : cases) {
    const Result<Target> target = parse_target(each.text);
    ASSERT_TRUE(target.ok()) << each.text;
    EXPECT_EQ(target->path, each.path) << each.text;
    EXPECT_EQ(target->query, each.query) << each.text;
  }
}

TEST(Target, ThatIsNoneIsRefused) {
  for (const char* text : {"", "a", "?x", "/%", "/%1", "/%1g", "/%-1", "/%+1", "/% 1", "/%00"}) {
    EXPECT_EQ(parse_target(text).status().code(), Code::kInvalidArgument) << text;
  }
}

TEST(Url, IsSplit) {
  const struct {
    const char* text;
    const char* host;
    int port;
    const char* path;
  } cases[] = {
      {"http://localhost", "localhost", 80, ""},
      {"http://127.0.0.1:30000", "127.0.0.1", 30000, ""},
      {"HTTP://h:1/", "h", 1, "/"},
      {"http://h:65535/v1/x?y#z", "h", 65535, "/v1/x?y"},
      {"http://h?y", "h", 80, "/?y"},
      {"http://[::1]:8/p", "::1", 8, "/p"},
      {"http://[fe80::2]", "fe80::2", 80, ""},
      {"https://h/v1", "h", 443, "/v1"},
      {"HTTPS://h:8443", "h", 8443, ""},
  };

  for (const auto& each : cases) {
    const Result<Url> url = parse_url(each.text);
    ASSERT_TRUE(url.ok()) << each.text << ": " << url.status().message();
    EXPECT_EQ(url->host, each.host) << each.text;
    EXPECT_EQ(url->port, each.port) << each.text;
    EXPECT_EQ(url->path, each.path) << each.text;
  }
  EXPECT_EQ(parse_url("http://[::1]:8")->authority(), "[::1]:8");
  EXPECT_EQ(parse_url("http://h")->origin(), "http://h:80");
  EXPECT_EQ(parse_url("https://h")->origin(), "https://h:443");
}

TEST(Url, ThatIsNoneIsRefused) {
  for (const char* text : {"", "localhost:30000", "ftp://h", "https:/h", "http://", "https://",
                           "http://:80", "http://h:", "http://h:0", "http://h:65536", "http://h:x",
                           "http://h:1x", "http://[::1", "http://[::1]x", "http://user@h",
                           "http://h/a b", "http://h/\r\nX: y", "http://h/\xc3\xa4"}) {
    EXPECT_EQ(parse_url(text).status().code(), Code::kInvalidArgument) << text;
  }
}

TEST(EventParser, ReadsEventsHoweverTheyAreCut) {
  const std::string text =
      ": comment\n\ndata: one\n\ndata:two\r\ndata:  lines\r\n\r\nevent: x\nid: 1\n\nretry: 1\n"
      "data\r\rdata: {\"a\": 1}\ndata:\n\ndata: unfinished";
  const std::vector<std::string> expected = {"one", "two\n lines", "", "{\"a\": 1}\n"};

  for (std::size_t piece = 1; piece <= text.size(); ++piece) {
    EventParser parser;
    std::vector<std::string> events;
    for (std::size_t at = 0; at < text.size(); at += piece) {
      EXPECT_TRUE(parser.push(text.substr(at, piece), [&](std::string_view data) {
        events.emplace_back(data);
        return true;
      }));
    }
    EXPECT_EQ(events, expected) << piece;
    EXPECT_EQ(parser.pending_bytes(), std::string("data: unfinished").size());
  }
}

TEST(EventParser, StopsWhenItIsTold) {
  EventParser parser;
  int events = 0;

  EXPECT_FALSE(parser.push("data: 1\n\ndata: 2\n\n", [&](std::string_view) {
    ++events;
    return false;
  }));

  EXPECT_EQ(events, 1);
}

TEST(ResponseHead, HoldsWhatTheHandlerSaysExceptWhatTheServerKnowsBetter) {
  Response response{.status = 404, .headers = {}, .body = "abc"};
  response.headers.add("Content-Type", "text/plain");
  response.headers.add("content-length", "1000");
  response.headers.add("X-Echo", "a\r\nSet-Cookie: b");
  std::string head;

  append_response_head(head, response, Framing::kLength, ConnectionWish::kClose,
                       http_date(784111777));

  EXPECT_EQ(head,
            "HTTP/1.1 404 Not Found\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
            "Content-Type: text/plain\r\nX-Echo: a  Set-Cookie: b\r\nContent-Length: 3\r\n"
            "Connection: close\r\n\r\n");
}

}  // namespace
}  // namespace fathom::http
