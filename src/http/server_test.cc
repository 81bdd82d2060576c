// What a client sees of single requests and answers.

#include "http/server.h"

#include <future>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "http/http_testing.h"

namespace fathom::http {
namespace {

using std::chrono::milliseconds;

std::string header(const Response& response, std::string_view name) {
  const std::string* value = response.headers.find(name);
  return value == nullptr ? "" : *value;
}

TEST(Server, AnswersRequestsOfOneConnectionInTurn) {
  TestServer server;
  RawClient client(server.port());

  for (int i = 0; i < 3; ++i) {
    const std::string body(static_cast<std::size_t>(i) * 100'000, 'x');
    ASSERT_TRUE(client.send(post("/echo", body)));
    const Response response = client.receive();
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.body, body);
    EXPECT_NE(header(response, "Date"), "");
  }

  EXPECT_EQ(server->stats().accepted, 1U);
  EXPECT_EQ(server->stats().requests, 3U);
}

TEST(Server, TellsTheHandlerWhoAsksForWhat) {
  TestServer server;
  RawClient client(server.port());

  client.send(
      "PATCH /a%2Fb?c=%20 HTTP/1.1\r\nHost: h\r\nX-Word: value\r\nContent-Length: 2\r\n\r\nhi");
  const TestServer::Call call = server.take();
  call.exchange->respond(ok(""));

  EXPECT_EQ(call.request.method, "PATCH");
  EXPECT_EQ(call.request.path, "/a/b");
  EXPECT_EQ(call.request.query, "c=%20");
  EXPECT_EQ(call.request.body, "hi");
  EXPECT_EQ(call.request.peer.substr(0, 10), "127.0.0.1:");
  EXPECT_EQ(client.receive().status, 200);
}

TEST(Server, ReadsARequestCutInTwoAnywhere) {
  TestServer server;
  const std::string text =
      "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n";
  RawClient client(server.port());

  for (std::size_t cut = 1; cut < text.size(); ++cut) {
    ASSERT_TRUE(client.send(text.substr(0, cut)));
    ASSERT_TRUE(client.send(text.substr(cut)));
    ASSERT_EQ(client.receive().body, "abcdef") << cut;
  }
}

TEST(Server, AnswersPipelinedRequestsInTheirOrder) {
  TestServer server;
  RawClient client(server.port());

  client.send(get("/first") + post("/echo", "second") + get("/third"));
  const TestServer::Call first = server.take();
  EXPECT_EQ(server.handled(), 1U);  // the second one waits for the first
  first.exchange->respond(ok("first"));
  const TestServer::Call third = server.take();
  third.exchange->respond(ok("third"));

  EXPECT_EQ(client.receive().body, "first");
  EXPECT_EQ(client.receive().body, "second");
  EXPECT_EQ(client.receive().body, "third");
}

TEST(Server, ReadsAheadWithinBoundsAndLosesNothing) {
  TestServer server;
  RawClient client(server.port());
  constexpr int kRequests = 3000;  // several times what is read ahead
  std::string many = get("/hold");
  for (int i = 0; i < kRequests; ++i) many += post("/echo", std::to_string(i));

  std::thread sender([&] { EXPECT_TRUE(client.send(many)); });
  const TestServer::Call held = server.take();
  held.exchange->start(ok("a"));
  held.exchange->write("b");
  held.exchange->finish();

  EXPECT_EQ(client.receive().body, "ab");
  for (int i = 0; i < kRequests; ++i) ASSERT_EQ(client.receive().body, std::to_string(i));
  sender.join();
}

TEST(Server, AnswersAPeerThatHasEndedItsHalf) {
  TestServer server;
  RawClient client(server.port());

  client.send(get("/one") + get("/two"));
  client.end_sending();
  server.take().exchange->respond(ok("1"));
  const TestServer::Call two = server.take();
  two.exchange->start(ok("2"));
  EXPECT_TRUE(two.exchange->write("2"));
  two.exchange->finish();

  EXPECT_EQ(client.receive().body, "1");
  EXPECT_EQ(client.receive().body, "22");
  EXPECT_EQ(client.receive_rest(), "");
}

TEST(Server, SendsContinueOnlyToThoseWhoMaySendTheirBody) {
  TestServer server({.max_body_bytes = 100});
  const std::string head = "POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n";

  RawClient welcome(server.port());
  welcome.send(head + "Content-Length: 5\r\n\r\n");
  EXPECT_EQ(welcome.receive_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  welcome.send("hello");
  EXPECT_EQ(welcome.receive().body, "hello");

  RawClient refused(server.port());
  refused.send(head + "Content-Length: 101\r\n\r\n");
  EXPECT_EQ(refused.receive_until("\r\n").substr(0, 12), "HTTP/1.1 413");

  RawClient impatient(server.port());
  impatient.send(head + "Content-Length: 5\r\n\r\nhello");
  EXPECT_EQ(impatient.receive().body, "hello");
}

TEST(Server, SpeaksHttp10) {
  TestServer server;

  RawClient closing(server.port());
  closing.send("GET /hello HTTP/1.0\r\n\r\n");
  const std::string text = closing.receive_rest();
  EXPECT_EQ(text.substr(0, 17), "HTTP/1.1 200 OK\r\n");
  EXPECT_NE(text.find("Connection: close\r\n"), std::string::npos);
  EXPECT_TRUE(text.ends_with("\r\n\r\nhello"));

  RawClient keeping(server.port());
  for (int i = 0; i < 2; ++i) {
    keeping.send("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    const Response response = keeping.receive();
    EXPECT_EQ(response.body, "hello");
    EXPECT_EQ(header(response, "Connection"), "keep-alive");
  }

  RawClient streaming(server.port());
  streaming.send("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const TestServer::Call call = server.take();
  call.exchange->start(ok("a"));
  call.exchange->write("b");
  call.exchange->finish();
  EXPECT_TRUE(streaming.receive_rest().ends_with("Connection: close\r\n\r\nab"));
}

TEST(Server, AnswersHeadWithoutABody) {
  TestServer server;
  RawClient client(server.port());

  client.send("HEAD /hello HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(header(client.receive(/*head_only=*/true), "Content-Length"), "5");
  client.send("HEAD /stream HTTP/1.1\r\nHost: h\r\n\r\n");
  const TestServer::Call call = server.take();
  call.exchange->start(ok("a"));
  EXPECT_TRUE(call.exchange->write("b"));
  call.exchange->finish();
  EXPECT_EQ(header(client.receive(/*head_only=*/true), "Transfer-Encoding"), "chunked");
  client.send(get("/hello"));
  EXPECT_EQ(client.receive().body, "hello");
}

TEST(Server, SendsNoBodyWithAStatusThatHasNone) {
  TestServer server;
  RawClient client(server.port());

  client.send(get("/a") + get("/b") + get("/hello"));
  server.take().exchange->respond({.status = 204, .headers = {}, .body = "ignored"});
  const TestServer::Call stream = server.take();
  stream.exchange->start({.status = 304, .headers = {}, .body = "ignored"});
  stream.exchange->write("ignored");
  stream.exchange->finish();

  EXPECT_EQ(client.receive().status, 204);
  EXPECT_EQ(client.receive().status, 304);
  EXPECT_EQ(client.receive().body, "hello");
}

TEST(Server, ClosesWhenThePeerAsksForIt) {
  TestServer server;
  RawClient client(server.port());

  client.send(get("/hello", "Connection: close\r\n"));

  const Response response = client.receive();
  EXPECT_EQ(header(response, "Connection"), "close");
  EXPECT_EQ(client.receive_rest(), "");
}

TEST(Server, RefusesMalformedInputAndCloses) {
  TestServer server({.max_header_bytes = 1000, .max_body_bytes = 1000}, /*started=*/false);
  server->set_error_body([](int status, std::string_view message) {
    return "refused " + std::to_string(status) + ": " + std::string(message);
  });
  server->start();
  const struct {
    std::string text;
    int status;
  } cases[] = {
      {"nonsense\r\n\r\n", 400},
      {get("/%zz"), 400},
      {get("/" + std::string(100'000, 'x')), 431},
      {post("/echo", std::string(1'000'000, 'x')), 413},
      {get("/", "Transfer-Encoding: gzip\r\n"), 501},
      {"GET / HTTP/3.0\r\n\r\n", 505},
      {get("/", "Expect: more\r\n"), 417},
  };

  for (const auto& each : cases) {
    RawClient client(server.port());
    client.send(each.text);
    const Response response = client.receive();
    EXPECT_EQ(response.status, each.status) << each.text.substr(0, 60);
    EXPECT_EQ(response.body.substr(0, 11), "refused " + std::to_string(each.status));
    EXPECT_EQ(header(response, "Connection"), "close");
    EXPECT_EQ(client.receive_rest(), "");
  }
  EXPECT_EQ(server.handled(), 0U);
}

TEST(Server, SaysThatARequestEndsInTheMiddle) {
  TestServer server;
  RawClient client(server.port());

  client.send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhel");
  client.end_sending();

  const Response response = client.receive();
  EXPECT_EQ(response.status, 400);
  EXPECT_NE(response.body.find("ends in the middle"), std::string::npos);
}

TEST(Server, LosesPatienceWithHeadBodyAndSilence) {
  const ServerOptions options{.header_timeout = milliseconds(40),
                              .body_timeout = milliseconds(60),
                              .idle_timeout = milliseconds(50)};
  TestServer server(options);
  RawClient silent(server.port());
  RawClient slow_head(server.port());
  RawClient slow_body(server.port());
  RawClient idle(server.port());

  slow_head.send("GET / HT");
  slow_body.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhel");
  idle.send(get("/hello"));

  EXPECT_EQ(silent.receive_rest(), "");
  EXPECT_EQ(slow_head.receive().status, 408);
  EXPECT_EQ(slow_body.receive().status, 408);
  EXPECT_EQ(idle.receive().status, 200);
  EXPECT_EQ(idle.receive_rest(), "");
}

TEST(Server, TurnsAwayConnectionsBeyondItsBound) {
  TestServer server({.max_connections = 2});
  RawClient one(server.port());
  RawClient two(server.port());
  one.send(get("/hello"));
  two.send(get("/hello"));
  EXPECT_EQ(one.receive().status, 200);
  EXPECT_EQ(two.receive().status, 200);

  RawClient three(server.port());
  EXPECT_EQ(three.receive().status, 503);
  EXPECT_EQ(three.receive_rest(), "");
  three.close();
  two.close();

  ASSERT_TRUE(eventually([&] { return server->stats().connections == 1; }));
  RawClient four(server.port());
  four.send(get("/hello"));
  EXPECT_EQ(four.receive().status, 200);
}

TEST(Server, AnswersForAHandlerThatLetsGoOrThrows) {
  Result<std::unique_ptr<Server>> server =
      Server::create({}, [](const Request& request, const std::shared_ptr<Exchange>& exchange) {
        if (request.path == "/throw") throw std::runtime_error("a handler's mistake");
        if (request.path == "/stream") exchange->start(ok("begun"));
      });
  ASSERT_TRUE(server.ok());
  (*server)->start();

  for (const char* path : {"/throw", "/forget"}) {
    RawClient client((*server)->port());
    client.send(get(path));
    EXPECT_EQ(client.receive().status, 500) << path;
  }
  RawClient client((*server)->port());
  client.send(get("/stream"));
  const std::string text = client.receive_rest();
  EXPECT_TRUE(text.ends_with("5\r\nbegun\r\n")) << text;  // and no end of the chunks
}

TEST(Server, SaysWhyItCannotListen) {
  TestServer server;
  ServerOptions options;
  options.port = server.port();
  const Handler nothing = [](const Request&, const std::shared_ptr<Exchange>&) {};

  const Status in_use = Server::create(options, nothing).status();
  EXPECT_EQ(in_use.code(), Code::kUnavailable);
  EXPECT_EQ(in_use.message(),
            "cannot listen on 127.0.0.1:" + std::to_string(server.port()) +
                ": another program listens there; stop it or choose another port");
  options.host = "";
  EXPECT_EQ(Server::create(options, nothing).status().code(), Code::kInvalidArgument);
  options.host = "300.1.2.3";
  EXPECT_EQ(Server::create(options, nothing).status().code(), Code::kInvalidArgument);
  options.host = "192.0.2.1";  // of a network for documents, which is nobody's
  EXPECT_EQ(Server::create(options, nothing).status().code(), Code::kUnavailable);
  options.host = "127.0.0.1";
  options.port = 0;
  options.threads = 0;
  EXPECT_EQ(Server::create(options, nothing).status().code(), Code::kInvalidArgument);
}

TEST(Server, ServesANameAndTellsItsAddress) {
  ServerOptions options;
  options.host = "localhost";
  TestServer server(options);

  RawClient client(server.port());
  client.send(get("/hello"));

  EXPECT_EQ(client.receive().body, "hello");
  EXPECT_TRUE(server->address().ends_with(":" + std::to_string(server.port())));
}

TEST(Server, RunsPostedWorkInOrderOnOneThreadAndDropsItAfterTheEnd) {
  TestServer server({.threads = 2});
  std::mutex mutex;
  std::vector<int> order;
  std::set<std::thread::id> threads;
  std::promise<void> done;

  for (int i = 0; i < 100; ++i) {
    server->post([&, i] {
      const std::lock_guard lock(mutex);
      order.push_back(i);
      threads.insert(std::this_thread::get_id());
    });
  }
  server->post_after(milliseconds(2), [&] { done.set_value(); });
  server->post_after(std::chrono::hours(1), [] { ADD_FAILURE(); });
  ASSERT_EQ(done.get_future().wait_for(kPatience), std::future_status::ready);
  server->stop();
  server->post([] { ADD_FAILURE(); });
  server->post_after(milliseconds(0), [] { ADD_FAILURE(); });

  ASSERT_EQ(order.size(), 100U);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
  EXPECT_EQ(threads.size(), 1U);
}

}  // namespace
}  // namespace fathom::http
