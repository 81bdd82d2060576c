// What a server keeps for all its peers together, hands back, and writes down.

#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/clock.h"
#include "http/http_testing.h"
#include "http/pending_budget.h"
#include "http/server.h"

namespace fathom::http {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

TEST(PendingBudget, AsksForThoseAboveTheAverageOnceTheTotalIsPassed) {
  constexpr std::size_t kMiB = 1 << 20;
  PendingBudget budget(10 * kMiB);
  budget.change(0, 8 * kMiB);
  budget.change(0, kMiB);
  EXPECT_FALSE(budget.too_much(8 * kMiB)) << "the total is not passed";

  budget.change(kMiB, 4 * kMiB);
  budget.change(0, 1000);

  EXPECT_TRUE(budget.too_much(8 * kMiB));
  EXPECT_TRUE(budget.too_much(4 * kMiB + 1000));
  EXPECT_FALSE(budget.too_much(3 * kMiB)) << "it has less than the average";
  EXPECT_FALSE(budget.too_much(1000));
  budget.change(8 * kMiB, 0);
  EXPECT_FALSE(budget.too_much(4 * kMiB));
  budget.change(4 * kMiB, 0);
  budget.change(1000, 0);
  EXPECT_EQ(budget.bytes(), 0U);
}

TEST(Server, BoundsWhatAllSlowReadersLeaveWaiting) {
  constexpr std::size_t kTotal = 8 << 20;
  TestServer server({.max_pending_bytes = 64 << 20, .max_total_pending_bytes = kTotal});
  std::vector<RawClient> clients;
  std::vector<TestServer::Call> calls;
  for (int i = 0; i < 20; ++i) {
    clients.emplace_back(server.port(), 4096);
    clients.back().send(get("/stream"));
    calls.push_back(server.take());
    calls.back().exchange->start(ok(""));
  }
  RawClient quick(server.port());
  quick.send(get("/stream"));
  const TestServer::Call answered = server.take();
  answered.exchange->start(ok(""));

  const std::string piece(128 << 10, 'x');
  std::size_t cut = 0;
  for (int step = 0; step < 200 && cut < calls.size(); ++step) {
    cut = 0;
    for (const TestServer::Call& call : calls) cut += call.exchange->write(piece) ? 0U : 1U;
    // Those that are cut are let go of by the server's thread.
    EXPECT_TRUE(eventually([&] { return server->stats().pending_bytes <= kTotal + (4 << 20); }));
    EXPECT_TRUE(answered.exchange->write("y"));
    EXPECT_EQ(quick.receive_until("y\r\n").back(), '\n') << "who reads is not cut";
  }

  EXPECT_GT(cut, 0U);
  answered.exchange->finish();
  EXPECT_THAT(quick.receive_until("0\r\n\r\n"), testing::EndsWith("0\r\n\r\n"));
  for (RawClient& client : clients) client.abort();
  EXPECT_TRUE(eventually([&] { return server->stats().connections == 1; }));
  calls.clear();
  EXPECT_TRUE(eventually([&] { return server->stats().pending_bytes == 0; }));
}

TEST(Drain, WaitsForNobodyWhoIsStuck) {
  TestServer server({.drain_patience = milliseconds(50)});
  RawClient reads_nothing(server.port(), 4096);
  reads_nothing.send(get("/stream"));
  const TestServer::Call call = server.take();
  call.exchange->respond(ok(std::string(std::size_t{32} << 20, 'x')));
  RawClient sends_nothing(server.port());
  sends_nothing.send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhalf");
  EXPECT_TRUE(eventually([&] { return server->stats().connections == 2; }));

  const std::int64_t start_ns = now_ns();
  EXPECT_TRUE(server->drain(kPatience));

  EXPECT_LT(now_ns() - start_ns, std::int64_t{30} * 1'000'000'000);
}

TEST(Server, GivesARequestsNamesBack) {
  TestServer server;
  RawClient client(server.port());

  client.send(get("/hello", "x-request-id: abc-1\r\nX-Correlation-ID: c 2\r\n"));
  const Response named = client.receive();
  client.send(get("/hello"));
  const Response unnamed = client.receive();
  client.send(get("/hello", "x-request-id: " + std::string(257, 'x') + "\r\n"));
  const Response too_long = client.receive();
  client.send(get("/own", "x-request-id: theirs\r\n"));
  Response own = ok("");
  own.headers.add("X-Request-ID", "ours");
  server.take().exchange->respond(std::move(own));
  const Response handlers = client.receive();

  ASSERT_NE(named.headers.find("X-Request-Id"), nullptr);
  EXPECT_EQ(*named.headers.find("X-Request-Id"), "abc-1");
  ASSERT_NE(named.headers.find("X-Correlation-Id"), nullptr);
  EXPECT_EQ(*named.headers.find("X-Correlation-Id"), "c 2");
  EXPECT_EQ(unnamed.headers.find("X-Request-Id"), nullptr);
  EXPECT_EQ(too_long.headers.find("X-Request-Id"), nullptr);
  ASSERT_NE(handlers.headers.find("X-Request-Id"), nullptr);
  EXPECT_EQ(*handlers.headers.find("X-Request-Id"), "ours");
}

TEST(Request, HasOneNameForALog) {
  Request request;
  EXPECT_EQ(request_id(request), "");
  request.headers.add("x-correlation-id", "second");
  EXPECT_EQ(request_id(request), "second");
  request.headers.add("x-request-id", "first");
  EXPECT_EQ(request_id(request), "first");
}

TEST(AccessLog, HasALineForEachAnswerAsUvicornWritesIt) {
  testing::internal::CaptureStderr();
  {
    TestServer server({.access_log = true, .access_log_leaves_out = {"/left"}});
    RawClient client(server.port());
    client.send(get("/hello?a=%20b") + get("/left/out") + "NONSENSE\r\n\r\n");
    EXPECT_EQ(client.receive().status, 200);
    server.take().exchange->respond(ok(""));
    client.receive_rest();
    TestServer quiet;
    RawClient unheard(quiet.port());
    unheard.send(get("/unheard"));
    quiet.take().exchange.reset();
    EXPECT_EQ(unheard.receive().status, 500);
  }
  const std::string log = testing::internal::GetCapturedStderr();

  EXPECT_THAT(log, testing::ContainsRegex("\\] INFO:     127.0.0.1:[0-9]+ - \"GET /hello\\?a=%20b "
                                          "HTTP/1.1\" 200 OK\n"));
  EXPECT_THAT(log, testing::ContainsRegex("INFO:     127.0.0.1:[0-9]+ - \"- - HTTP/1.1\" 400 Bad "
                                          "Request\n"));
  EXPECT_THAT(log, testing::Not(HasSubstr("/left")));
  EXPECT_THAT(log, testing::Not(HasSubstr("/unheard")));
}

}  // namespace
}  // namespace fathom::http
