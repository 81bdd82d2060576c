// Streams of chunks: many at once, slow and vanished peers, the end of the server.

#include <atomic>
#include <future>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "http/http_testing.h"
#include "http/open_files.h"
#include "http/server.h"

namespace fathom::http {
namespace {

using std::chrono::milliseconds;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kStreams = 100;
#else
constexpr int kStreams = 1000;
#endif

bool ready(const std::future<void>& future) {
  return future.wait_for(kPatience) == std::future_status::ready;
}

// A promise that may be kept from a callback.
std::function<void()> keep(std::promise<void>& promise) {
  return [&promise] { promise.set_value(); };
}

TEST(Stream, ComesInPiecesAsItIsWritten) {
  TestServer server;
  RawClient client(server.port());
  client.send(get("/stream"));
  const TestServer::Call call = server.take();

  call.exchange->start(ok("one"));
  EXPECT_TRUE(client.receive_until("3\r\none\r\n").ends_with("\r\n\r\n3\r\none\r\n"));
  EXPECT_TRUE(call.exchange->write(""));  // would end the chunks if it were sent
  EXPECT_TRUE(call.exchange->write("a somewhat longer piece"));
  EXPECT_EQ(client.receive_until("piece\r\n"), "17\r\na somewhat longer piece\r\n");
  call.exchange->finish();
  EXPECT_EQ(client.receive_bytes(5), "0\r\n\r\n");
}

TEST(Stream, SendsWhatWaitsInOneWrite) {
  TestServer server;
  RawClient client(server.port());
  client.send(get("/stream"));
  const TestServer::Call call = server.take();

  // On the thread that sends, nothing can be sent in between.
  server->post([&] {
    call.exchange->start(ok("a"));
    for (int i = 0; i < 10; ++i) call.exchange->write("b");
    call.exchange->finish();
  });

  EXPECT_TRUE(client.receive_until("0\r\n\r\n").ends_with("\r\n\r\nb\r\nabbbbbbbbbb\r\n0\r\n\r\n"));
}

TEST(Stream, OfAnyMixOfPiecesArrivesWhole) {
  TestServer server({.threads = 2});
  std::mt19937 random(4);
  for (int round = 0; round < 20; ++round) {
    RawClient client(server.port(), round % 2 == 0 ? 0 : 4096);
    client.send(get("/stream"));
    const TestServer::Call call = server.take();
    std::string expected(random() % 3, 's');
    std::vector<std::string> pieces;
    for (int i = 0; i < 50; ++i) {
      const std::size_t size = random() % (i % 10 == 0 ? 100'000 : 50);
      pieces.emplace_back(size, static_cast<char>('a' + i % 26));
    }
    std::thread writer([&call, pieces, first = expected] {
      call.exchange->start(ok(first));
      for (const std::string& piece : pieces) EXPECT_TRUE(call.exchange->write(piece));
      call.exchange->finish();
    });
    for (const std::string& piece : pieces) expected += piece;
    EXPECT_EQ(client.receive().body, expected) << "round " << round;
    writer.join();
  }
}

TEST(Stream, ThousandsShareOneThread) {
  raise_open_files(8192);
  TestServer server;
  std::vector<RawClient> clients;
  std::vector<TestServer::Call> calls;
  calls.reserve(kStreams);
  for (int i = 0; i < kStreams; ++i) {
    clients.emplace_back(server.port());
    ASSERT_TRUE(clients.back().send(get("/" + std::to_string(i))));
  }
  for (int i = 0; i < kStreams; ++i) calls.push_back(server.take());

  for (const auto& call : calls) call.exchange->start(ok(call.request.path + ":"));
  for (int step = 0; step < 5; ++step) {
    for (const auto& call : calls) EXPECT_TRUE(call.exchange->write(std::to_string(step)));
  }
  for (const auto& call : calls) call.exchange->finish();

  for (int i = 0; i < kStreams; ++i) {
    ASSERT_EQ(clients[static_cast<std::size_t>(i)].receive().body,
              "/" + std::to_string(i) + ":01234");
  }
  EXPECT_TRUE(eventually([&] { return server->stats().unanswered == 0; }));
  EXPECT_EQ(server->stats().connections, static_cast<std::size_t>(kStreams));
}

TEST(Stream, TellsWhenThePeerHasTakenWhatWasWritten) {
  TestServer server({.max_pending_bytes = 1 << 20});
  RawClient client(server.port(), 4096);
  client.send(get("/stream"));
  const TestServer::Call call = server.take();
  constexpr std::size_t kBytes = std::size_t{16} << 20;  // more than the system's own buffers hold
  std::promise<void> first;
  call.exchange->start(ok(std::string(kBytes, 'x') + "one"));
  call.exchange->on_sent(keep(first));
  std::future<void> told = first.get_future();

  EXPECT_EQ(told.wait_for(milliseconds(0)), std::future_status::timeout);
  client.receive_until("one\r\n");
  EXPECT_TRUE(ready(told));

  // Nothing waits: at once.
  bool at_once = false;
  call.exchange->on_sent([&at_once] { at_once = true; });
  EXPECT_TRUE(at_once);

  std::promise<void> second;
  EXPECT_TRUE(call.exchange->write("two"));
  call.exchange->on_sent(keep(second));
  client.receive_until("two\r\n");
  EXPECT_TRUE(ready(second.get_future()));
  call.exchange->finish();
  EXPECT_EQ(client.receive_bytes(5), "0\r\n\r\n");
}

TEST(Stream, LetsGoOfWhoWaitsForAPeerThatVanishes) {
  TestServer server;
  RawClient client(server.port(), 4096);
  client.send(get("/stream"));
  TestServer::Call call = server.take();
  std::promise<void> gone;
  call.exchange->on_gone(keep(gone));
  // As a download does it: the exchange is kept by what is kept by the exchange.
  const auto kept = std::make_shared<std::shared_ptr<Exchange>>(call.exchange);
  call.exchange->start(ok(std::string(std::size_t{16} << 20, 'x')));
  call.exchange->on_sent([kept] { ADD_FAILURE() << "nobody took it"; });
  call.exchange = nullptr;
  EXPECT_EQ(kept.use_count(), 2);

  client.abort();

  EXPECT_TRUE(ready(gone.get_future()));
  EXPECT_TRUE(eventually([&] { return kept.use_count() == 1; }));
}

TEST(Stream, OfASlowReaderIsBoundedAndClosed) {
  TestServer server({.max_pending_bytes = 1 << 20});
  RawClient client(server.port(), 4096);
  client.send(get("/stream"));
  const TestServer::Call call = server.take();
  std::promise<void> gone;
  call.exchange->on_gone(keep(gone));
  call.exchange->start(ok(""));

  const std::string piece(64 << 10, 'x');
  std::size_t written = 0;
  while (call.exchange->write(piece)) {
    written += piece.size();
    ASSERT_LT(written, std::size_t{64} << 20);  // the system's own buffers hold a few MB
  }

  EXPECT_GE(written, std::size_t{1} << 20);
  EXPECT_TRUE(ready(gone.get_future()));
  EXPECT_FALSE(call.exchange->write("x"));
  EXPECT_TRUE(eventually([&] { return server->stats().connections == 0; }));
}

TEST(Stream, ThatNobodyReadsIsClosedInTime) {
  TestServer server({.write_timeout = milliseconds(50)});
  RawClient client(server.port(), 4096);
  client.send(get("/stream"));
  const TestServer::Call call = server.take();
  std::promise<void> gone;
  call.exchange->on_gone(keep(gone));

  call.exchange->start(ok(std::string(std::size_t{32} << 20, 'x')));

  EXPECT_TRUE(ready(gone.get_future()));
}

TEST(Stream, TellsThatThePeerIsGone) {
  TestServer server({.half_close_probe = milliseconds(20)});
  for (const bool orderly : {true, false}) {
    for (const bool started : {true, false}) {
      RawClient client(server.port());
      client.send(get("/stream"));
      const TestServer::Call call = server.take();
      std::promise<void> gone;
      call.exchange->on_gone(keep(gone));
      if (started) {
        call.exchange->start(ok("begun"));
        client.receive_until("begun");
      }
      if (orderly) {
        client.close();
      } else {
        client.abort();
      }
      // An orderly end may be half of one. Writing shows it, and for an answer that has not begun
      // the server's probe does.
      std::future<void> future = gone.get_future();
      if (orderly && started) {
        EXPECT_TRUE(eventually([&] {
          return !call.exchange->write("x") ||
                 future.wait_for(milliseconds(0)) == std::future_status::ready;
        }));
      }
      EXPECT_TRUE(ready(future)) << orderly << started;
      bool told = false;
      call.exchange->on_gone([&] { told = true; });
      EXPECT_TRUE(told);  // at once
    }
  }
  EXPECT_TRUE(eventually([&] { return server->stats().connections == 0; }));
  EXPECT_EQ(server->stats().unanswered, 0U);
}

TEST(Stream, ProbesOnlyAPeerThatHasEndedItsHalf) {
  TestServer server({.half_close_probe = milliseconds(20)});
  RawClient client(server.port());
  client.send(get("/late"));
  client.end_sending();
  const TestServer::Call call = server.take();
  call.exchange->on_gone([] { ADD_FAILURE(); });

  EXPECT_EQ(client.receive_until("\r\n\r\n"), "HTTP/1.1 102 Processing\r\n\r\n");
  call.exchange->respond(ok("late"));

  EXPECT_EQ(client.receive().body, "late");
}

TEST(Stream, LetsGoOfItsCallbackWhenTheAnswerIsComplete) {
  TestServer server;
  RawClient client(server.port());
  client.send(get("/one") + get("/two"));
  auto token = std::make_shared<int>(0);

  const TestServer::Call one = server.take();
  one.exchange->on_gone([token] { ADD_FAILURE(); });
  one.exchange->respond(ok("1"));
  const TestServer::Call two = server.take();
  two.exchange->on_gone([token] { ADD_FAILURE(); });
  two.exchange->start(ok("2"));
  two.exchange->finish();
  EXPECT_EQ(token.use_count(), 1);
  EXPECT_EQ(client.receive().body, "1");
  EXPECT_EQ(client.receive().body, "2");
  client.close();
  server->stop();
}

TEST(Drain, ClosesIdleConnectionsAndLetsStreamsEnd) {
  TestServer server;
  RawClient idle(server.port());
  RawClient streaming(server.port());
  RawClient late(server.port());
  idle.send(get("/hello"));
  EXPECT_EQ(idle.receive().status, 200);
  streaming.send(get("/stream"));
  const TestServer::Call stream = server.take();
  late.send(get("/late"));
  const TestServer::Call unbegun = server.take();
  stream.exchange->start(ok("a"));
  streaming.receive_until("a\r\n");

  std::future<bool> drained =
      std::async(std::launch::async, [&] { return server->drain(kPatience); });
  EXPECT_EQ(idle.receive_rest(), "");
  EXPECT_TRUE(eventually([&] { return !RawClient(server.port()).connected(); }));
  EXPECT_TRUE(stream.exchange->write("b"));
  EXPECT_EQ(streaming.receive_until("b\r\n"), "1\r\nb\r\n");
  stream.exchange->finish();
  EXPECT_EQ(streaming.receive_rest(), "0\r\n\r\n");
  EXPECT_EQ(drained.wait_for(milliseconds(0)), std::future_status::timeout);
  unbegun.exchange->respond(ok("late"));
  const Response response = late.receive();
  EXPECT_EQ(response.body, "late");
  ASSERT_NE(response.headers.find("Connection"), nullptr);
  EXPECT_EQ(*response.headers.find("Connection"), "close");

  EXPECT_TRUE(drained.get());
}

TEST(Drain, GivesUpAfterItsGrace) {
  TestServer server;
  RawClient client(server.port());
  client.send(get("/stream"));
  const TestServer::Call call = server.take();
  std::promise<void> gone;
  call.exchange->on_gone(keep(gone));

  EXPECT_FALSE(server->drain(milliseconds(1)));
  server->stop();

  EXPECT_TRUE(ready(gone.get_future()));
  EXPECT_EQ(client.receive_rest(), "");
}

TEST(Stop, MakesLiveExchangesGoneAndHarmless) {
  auto server = std::make_unique<TestServer>(ServerOptions{.threads = 2});
  std::vector<RawClient> clients;
  std::vector<TestServer::Call> calls;
  std::atomic<int> gone = 0;
  for (int i = 0; i < 20; ++i) {
    clients.emplace_back(server->port());
    clients.back().send(get("/stream"));
    calls.push_back(server->take());
    calls.back().exchange->on_gone([&] { ++gone; });
    if (i % 2 == 0) calls.back().exchange->start(ok("a"));
  }
  // Someone goes on writing while the server ends.
  std::atomic<bool> end = false;
  std::thread writer([&] {
    while (!end) {
      for (std::size_t i = 0; i < calls.size(); i += 2) calls[i].exchange->write("x");
    }
  });

  server->destroy();

  EXPECT_EQ(gone, 20);
  end = true;
  writer.join();
  for (std::size_t i = 0; i < calls.size(); ++i) {
    if (i % 2 == 0) {
      EXPECT_FALSE(calls[i].exchange->write("x"));
      calls[i].exchange->finish();
    } else {
      calls[i].exchange->respond(ok("late"));
    }
  }
  for (RawClient& client : clients) client.receive_rest();
}

TEST(Stop, IsHarmlessTwiceAndBeforeTheStart) {
  TestServer server({}, /*started=*/false);

  server->stop();
  server->stop();
  EXPECT_TRUE(server->drain(milliseconds(0)));
}

}  // namespace
}  // namespace fathom::http
