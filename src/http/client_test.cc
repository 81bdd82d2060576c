#include "http/client.h"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "http/http_testing.h"
#include "http/server.h"

namespace fathom::http {
namespace {

using std::chrono::milliseconds;

Url url_of(const TestServer& server) { return {"127.0.0.1", server.port(), ""}; }

Request request(std::string method, std::string target, std::string body = "") {
  Request made;
  made.method = std::move(method);
  made.target = std::move(target);
  made.body = std::move(body);
  return made;
}

TEST(Client, KeepsItsConnection) {
  TestServer server;
  Client client(url_of(server));

  for (int i = 0; i < 5; ++i) {
    const std::string body(static_cast<std::size_t>(i) * 100'000, 'x');
    const Result<Response> response = client.send(request("POST", "/echo", body));
    ASSERT_TRUE(response.ok()) << response.status().message();
    EXPECT_EQ(response->status, 200);
    EXPECT_EQ(response->body, body);
  }

  EXPECT_EQ(server->stats().accepted, 1U);
}

TEST(Client, ConnectsAgainWhenThePeerHasClosed) {
  TestServer server({.idle_timeout = milliseconds(20)});
  Client client(url_of(server));

  ASSERT_TRUE(client.send(request("POST", "/echo", "a")).ok());
  ASSERT_TRUE(eventually([&] { return server->stats().connections == 0; }));
  const Result<Response> again = client.send(request("POST", "/echo", "b"));

  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(again->body, "b");
  EXPECT_EQ(server->stats().accepted, 2U);
}

TEST(Client, HandsOutAStreamAsItComes) {
  TestServer server;
  Client client(url_of(server));
  std::atomic<std::size_t> seen = 0;
  std::thread answering([&] {
    const TestServer::Call call = server.take();
    EXPECT_EQ(call.request.target, "/stream?x");
    call.exchange->start({.status = 202, .headers = {}, .body = "a"});
    for (std::size_t i = 1; i <= 10; ++i) {
      EXPECT_TRUE(eventually([&] { return seen == i; }));  // every piece before the next one
      call.exchange->write("b");
    }
    call.exchange->finish();
  });
  int heads = 0;
  std::string body;

  const Result<Response> response = client.stream(
      request("GET", "/stream?x"),
      [&](const Response& head) {
        ++heads;
        EXPECT_EQ(head.status, 202);
      },
      [&](std::string_view piece) {
        body += piece;
        seen += piece.size();
        return true;
      });
  answering.join();

  ASSERT_TRUE(response.ok()) << response.status().message();
  EXPECT_EQ(heads, 1);
  EXPECT_EQ(body, "abbbbbbbbbb");
  EXPECT_EQ(response->body, "");
  EXPECT_TRUE(client.send(request("GET", "/hello")).ok());
  EXPECT_EQ(server->stats().accepted, 1U);
}

TEST(Client, LeavesAStreamWhenItIsTold) {
  TestServer server;
  Client client(url_of(server));
  std::thread answering([&] {
    const TestServer::Call call = server.take();
    call.exchange->start(ok("a"));
    EXPECT_TRUE(eventually([&] { return !call.exchange->write("b"); }));
  });

  const Result<Response> response = client.stream(
      request("GET", "/stream"), [](const Response&) {}, [](std::string_view) { return false; });
  answering.join();

  EXPECT_TRUE(response.ok());
  EXPECT_TRUE(client.send(request("GET", "/hello")).ok());
  EXPECT_EQ(server->stats().accepted, 2U);
}

TEST(Client, IsCancelledWhileItWaits) {
  TestServer server({.half_close_probe = milliseconds(20)});
  std::atomic<bool> cancel = false;
  Client client(url_of(server), {.cancel = &cancel});
  std::thread cancelling([&] {
    const TestServer::Call call = server.take();
    cancel = true;
    EXPECT_TRUE(eventually([&] { return server->stats().connections == 0; }));
  });

  const Result<Response> response = client.send(request("GET", "/never"));
  cancelling.join();

  EXPECT_EQ(response.status().code(), Code::kCancelled);
}

TEST(Client, SaysWhyThereIsNoAnswer) {
  std::uint16_t closed_port = 0;
  {
    const TestServer server({}, /*started=*/false);
    closed_port = server.port();
  }
  Client nobody({"127.0.0.1", closed_port, ""});
  const Status refused = nobody.send(request("GET", "/")).status();
  EXPECT_EQ(refused.code(), Code::kUnavailable);
  EXPECT_EQ(refused.message(),
            "connect to 127.0.0.1:" + std::to_string(closed_port) + ": Connection refused");

  TestServer server;
  Client hasty(url_of(server), {.read_timeout = milliseconds(20)});
  EXPECT_EQ(hasty.send(request("GET", "/never")).status().code(), Code::kDeadlineExceeded);

  Client broken(url_of(server));
  std::thread breaking([&] {
    server.take();  // the hasty one's
    const TestServer::Call call = server.take();
    call.exchange->start(ok("begun"));
  });
  const Status broke_off = broken.send(request("GET", "/stream")).status();
  breaking.join();
  EXPECT_EQ(broke_off.code(), Code::kUnavailable);
  EXPECT_NE(broke_off.message().find("in the middle"), std::string::npos) << broke_off.message();
}

TEST(Client, HearsWhatIsSaidWhileItStillSends) {
  TestServer server({.max_body_bytes = 1000});
  Client client(url_of(server));

  const Result<Response> response =
      client.send(request("POST", "/echo", std::string(std::size_t{20} << 20, 'x')));

  ASSERT_TRUE(response.ok()) << response.status().message();
  EXPECT_EQ(response->status, 413);
}

TEST(Client, SendsNoHeaderThatHidesAnother) {
  TestServer server;
  Client client(url_of(server));
  Request bad = request("GET", "/hello");
  bad.headers.add("X", "a\r\nY: b");

  EXPECT_EQ(client.send(bad).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(server.handled(), 0U);
}

TEST(Client, UnderstandsHead) {
  TestServer server;
  Client client(url_of(server));

  for (int i = 0; i < 2; ++i) {
    const Result<Response> response = client.send(request("HEAD", "/hello"));
    ASSERT_TRUE(response.ok()) << response.status().message();
    EXPECT_EQ(response->body, "");
  }
  EXPECT_EQ(server->stats().accepted, 1U);
}

}  // namespace
}  // namespace fathom::http
