#include "http/tls.h"

#include <array>
#include <atomic>
#include <future>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/check.h"
#include "http/client.h"
#include "http/client_socket.h"
#include "http/http_testing.h"
#include "http/server.h"
#include "http/tls_testing.h"

namespace fathom::http {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::HasSubstr;

// What all tests use unless they want another.
const TestAuthority& authority() {
  static const TestAuthority made;
  return made;
}

std::shared_ptr<const TlsContext> context_of(const TlsFiles& files) {
  auto made = TlsContext::for_server(files);
  FATHOM_CHECK_MSG(made.ok(), made.status().message());
  return *made;
}

ServerOptions secure(ServerOptions options = {}) {
  static const std::shared_ptr<const TlsContext> made = context_of(authority().issue("server"));
  options.tls = made;
  return options;
}

Client client_of(const TestServer& server,
                 const TlsTrust& trust = {.authorities = authority().certificate()},
                 const std::string& host = "127.0.0.1") {
  ClientOptions options;
  options.trust = trust;
  return Client({host, server.port(), "", true}, options);
}

Request request(std::string method, std::string target, std::string body = "") {
  Request made;
  made.method = std::move(method);
  made.target = std::move(target);
  made.body = std::move(body);
  return made;
}

std::string failure_of(Client client) {
  const Result<Response> response = client.send(request("GET", "/hello"));
  EXPECT_FALSE(response.ok());
  return response.status().message();
}

// A client that says what it is told to, and can end its half alone.
class TlsClient {
 public:
  explicit TlsClient(std::uint16_t port) : raw_(port) {
    const auto context = TlsContext::for_client({.authorities = authority().certificate()});
    FATHOM_CHECK(context.ok());
    session_ = TlsSession::connect(*context, raw_.handle(), "127.0.0.1");
    EXPECT_EQ(session_->shake_hands(), TlsSession::Step::kDone) << session_->failure();
  }

  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      std::size_t count = 0;
      if (session_->write(bytes, count) != TlsSession::Step::kDone) return;
      bytes.remove_prefix(count);
    }
  }
  void end_sending() { session_->end_sending(); }
  void abort() { raw_.abort(); }
  void close() { raw_.close(); }  // without a word
  // Until the server has ended; `how` says whether it said so.
  std::string receive_rest(TlsSession::Step& how) {
    std::string all;
    std::array<char, 4096> buffer{};
    std::size_t count = 0;
    while ((how = session_->read(buffer, count)) == TlsSession::Step::kDone) {
      all.append(buffer.data(), count);
    }
    return all;
  }

 private:
  RawClient raw_;
  std::unique_ptr<TlsSession> session_;
};

TEST(Tls, CarriesRequestsOfAnySizeOverOneConnection) {
  TestServer server(secure());
  Client client = client_of(server);

  constexpr std::size_t kSizes[] = {0, 1, 16383, 16384, 16385, 300'000, 5'000'000};
  for (const std::size_t size : kSizes) {
    const std::string body(size, 'x');
    const Result<Response> response = client.send(request("POST", "/echo", body));
    ASSERT_TRUE(response.ok()) << response.status().message();
    EXPECT_EQ(response->body, body);
  }

  EXPECT_EQ(server->stats().accepted, 1U);
}

TEST(Tls, CarriesAStreamAsItIsWritten) {
  TestServer server(secure());
  Client client = client_of(server);
  std::atomic<std::size_t> seen = 0;
  std::string wanted;
  std::thread answering([&] {
    const TestServer::Call call = server.take();
    call.exchange->start(ok(""));
    for (std::size_t i = 0; i < 50; ++i) {
      const std::string piece(1 + i * 997, static_cast<char>('a' + i % 26));
      wanted += piece;
      call.exchange->write(piece);
      EXPECT_TRUE(eventually([&] { return seen == wanted.size(); }));
    }
    call.exchange->finish();
  });

  std::string all;
  const Result<Response> response = client.stream(
      request("GET", "/stream"), [](const Response&) {},
      [&](std::string_view piece) {
        all += piece;
        seen = all.size();
        return true;
      });
  answering.join();

  ASSERT_TRUE(response.ok()) << response.status().message();
  EXPECT_EQ(all, wanted);
}

TEST(Tls, ServesManyAtOnce) {
  constexpr int kClients = 50;
  TestServer server(secure({.threads = 2}));
  std::atomic<int> good = 0;
  std::vector<std::thread> clients;
  clients.reserve(kClients);
  for (int i = 0; i < kClients; ++i) {
    clients.emplace_back([&, i] {
      Client client = client_of(server);
      const std::string body(static_cast<std::size_t>(i) * 1000, 'x');
      for (int k = 0; k < 3; ++k) {
        const Result<Response> response = client.send(request("POST", "/echo", body));
        if (response.ok() && response->body == body) ++good;
      }
    });
  }
  for (std::thread& client : clients) client.join();

  EXPECT_EQ(good, 3 * kClients);
  EXPECT_TRUE(eventually([&] { return server->stats().connections == 0; }));
}

TEST(Tls, AClientBelievesOnlyWhomItsAuthoritiesVouchFor) {
  const TestAuthority other;
  TestServer server(secure());
  TestServer outdated({.tls = context_of(authority().issue("old", {.outdated = true}))});
  TestServer elsewhere(
      {.tls = context_of(authority().issue("elsewhere", {.names = "DNS:elsewhere.example"}))});
  const TlsTrust ours{.authorities = authority().certificate()};

  EXPECT_THAT(failure_of(client_of(server, {.authorities = other.certificate()})),
              AllOf(HasSubstr("https://127.0.0.1:"), HasSubstr("unable to get local issuer")));
  EXPECT_THAT(failure_of(client_of(server, {})), HasSubstr("unable to get local issuer"));
  EXPECT_THAT(failure_of(client_of(outdated)), HasSubstr("expired"));
  EXPECT_THAT(failure_of(client_of(elsewhere)), HasSubstr("IP address mismatch"));
  EXPECT_THAT(failure_of(client_of(elsewhere, ours, "localhost")), HasSubstr("ostname mismatch"));
  EXPECT_THAT(failure_of(client_of(server, {.authorities = "/no/such/file"})),
              HasSubstr("'/no/such/file': No such file or directory"));

  EXPECT_TRUE(client_of(server, ours, "localhost").send(request("GET", "/hello")).ok());
  EXPECT_TRUE(client_of(outdated, {.verify = false}).send(request("GET", "/hello")).ok());
  EXPECT_TRUE(client_of(elsewhere, {.authorities = authority().certificate(), .verify_name = false})
                  .send(request("GET", "/hello"))
                  .ok());
}

TEST(Tls, AServerSaysWhatIsWrongWithItsFiles) {
  const auto refusal = [](const TlsFiles& files) {
    const auto made = TlsContext::for_server(files);
    EXPECT_FALSE(made.ok());
    return made.status().message();
  };
  const TlsFiles good = authority().issue("good");
  const TlsFiles other = authority().issue("other");
  const TlsFiles locked = authority().issue("locked", {.key_password = "open sesame"});
  const std::string empty = authority().write("empty", "");
  const std::string junk = authority().write("junk", "-----BEGIN CERTIFICATE-----\nAAAA\n");

  EXPECT_THAT(refusal({"/no/such", good.key, ""}),
              AllOf(HasSubstr("certificate '/no/such'"), HasSubstr("No such file")));
  EXPECT_THAT(refusal({good.certificate, "/no/such", ""}),
              AllOf(HasSubstr("key '/no/such'"), HasSubstr("No such file")));
  EXPECT_THAT(refusal({empty, good.key, ""}), HasSubstr("empty': expected one in PEM form"));
  EXPECT_THAT(refusal({junk, good.key, ""}), HasSubstr("certificate '" + junk));
  EXPECT_THAT(refusal({good.certificate, empty, ""}),
              HasSubstr("empty': expected one in PEM form"));
  EXPECT_THAT(refusal({good.certificate, good.certificate, ""}), HasSubstr("key '"));
  EXPECT_THAT(refusal({good.certificate, other.key, ""}), HasSubstr("does not belong to"));
  EXPECT_THAT(refusal({locked.certificate, locked.key, ""}), HasSubstr("no password is given"));
  EXPECT_THAT(refusal({locked.certificate, locked.key, "wrong"}),
              AllOf(HasSubstr("password is another"), testing::Not(HasSubstr("wrong"))));
  EXPECT_TRUE(TlsContext::for_server(locked).ok());
  EXPECT_TRUE(TlsContext::for_server({good.certificate, good.key, "unneeded"}).ok());
}

TEST(Tls, TellsAPeerThatSpeaksPlainHttp) {
  TestServer server(secure());
  RawClient client(server.port());

  client.send(get("/hello"));

  const Response response = client.receive();
  EXPECT_EQ(response.status, 400);
  EXPECT_THAT(response.body, HasSubstr("https://"));
  EXPECT_EQ(client.receive_rest(), "");
  EXPECT_EQ(server.handled(), 0U);
}

TEST(Tls, APlainServerRefusesAPeerThatSpeaksTls) {
  TestServer server;

  EXPECT_THAT(failure_of(client_of(server)), HasSubstr("TLS"));
  EXPECT_TRUE(eventually([&] { return server->stats().connections == 0; }));
}

TEST(Tls, LosesPatienceWithAHandshakeThatDoesNotEnd) {
  TestServer server(secure({.header_timeout = milliseconds(50)}));
  RawClient silent(server.port());
  RawClient slow(server.port());
  slow.send(std::string_view("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11));

  EXPECT_EQ(silent.receive_rest(), "");
  EXPECT_EQ(slow.receive_rest(), "");
  EXPECT_TRUE(eventually([&] { return server->stats().connections == 0; }));
}

TEST(Tls, EndsAConnectionThatBringsNonsense) {
  TestServer server(secure());
  for (const std::string& nonsense :
       {std::string("\x16\x03\x01\xff\xff", 5) + std::string(70000, '\xff'), std::string(300, '\0'),
        std::string("\x80\x2e\x01\x00\x02", 5), std::string("SSH-2.0-x\r\n")}) {
    RawClient client(server.port());
    client.send(nonsense);
    client.end_sending();
    client.receive_rest();
  }

  EXPECT_TRUE(eventually([&] { return server->stats().connections == 0; }));
  EXPECT_EQ(server.handled(), 0U);
  EXPECT_TRUE(client_of(server).send(request("GET", "/hello")).ok()) << "nobody else noticed";
}

TEST(Tls, AnswersAPeerThatHasEndedItsHalf) {
  TestServer server(secure({.half_close_probe = milliseconds(20)}));
  TlsClient client(server.port());
  client.send(get("/slow"));
  client.end_sending();
  const TestServer::Call call = server.take();

  // Long enough to be probed.
  EXPECT_TRUE(eventually([&] { return server->stats().unanswered == 1; }));
  call.exchange->respond(ok("answer"));

  TlsSession::Step how{};
  EXPECT_THAT(client.receive_rest(how), HasSubstr("\r\n\r\nanswer"));
  EXPECT_EQ(how, TlsSession::Step::kEnded) << "the server says that it ends";
}

TEST(Tls, SaysThatItEndsABrokenStreamOnlyWhenItIsWhole) {
  TestServer server(secure());
  TlsClient whole(server.port());
  whole.send("GET /old HTTP/1.0\r\n\r\n");
  const TestServer::Call whole_call = server.take();
  TlsClient broken(server.port());
  broken.send("GET /old HTTP/1.0\r\n\r\n");
  TestServer::Call broken_call = server.take();

  whole_call.exchange->start(ok("all of it"));
  whole_call.exchange->finish();
  broken_call.exchange->start(ok("half of "));
  broken_call.exchange.reset();

  TlsSession::Step how{};
  EXPECT_THAT(whole.receive_rest(how), HasSubstr("all of it"));
  EXPECT_EQ(how, TlsSession::Step::kEnded);
  EXPECT_THAT(broken.receive_rest(how), HasSubstr("half of "));
  EXPECT_EQ(how, TlsSession::Step::kFailed) << "an end without a word is no end";
}

TEST(Tls, NoticesAPeerThatGoesWithoutAWord) {
  TestServer server(secure());
  for (const bool reset : {true, false}) {
    TlsClient client(server.port());
    client.send(get("/stream"));
    const TestServer::Call call = server.take();
    std::promise<void> gone;
    call.exchange->on_gone([&] { gone.set_value(); });
    call.exchange->start(ok("a"));

    if (reset) {
      client.abort();
    } else {
      client.close();
    }

    std::future<void> told = gone.get_future();
    EXPECT_TRUE(eventually([&] {
      call.exchange->write("b");
      return told.wait_for(milliseconds(0)) == std::future_status::ready;
    }));
  }
  EXPECT_TRUE(eventually([&] { return server->stats().connections == 0; }));
}

TEST(Tls, RefusesWhatIsMalformedOrTooLarge) {
  TestServer server(secure({.max_body_bytes = 100}));
  for (const auto& [bytes, status] :
       {std::pair<std::string, std::string>{"NONSENSE\r\n\r\n", "400"},
        {post("/echo", std::string(101, 'x')), "413"}}) {
    TlsClient client(server.port());
    client.send(bytes);
    TlsSession::Step how{};
    EXPECT_THAT(client.receive_rest(how), testing::StartsWith("HTTP/1.1 " + status));
    EXPECT_EQ(how, TlsSession::Step::kEnded);
  }
}

TEST(Tls, OfASlowReaderIsBoundedAndClosed) {
  TestServer server(secure({.max_pending_bytes = 1 << 20}));
  TlsClient client(server.port());
  client.send(get("/stream"));
  const TestServer::Call call = server.take();
  call.exchange->start(ok(""));

  const std::string piece(64 << 10, 'x');
  std::size_t written = 0;
  while (call.exchange->write(piece)) {
    written += piece.size();
    ASSERT_LT(written, std::size_t{64} << 20);
  }

  EXPECT_TRUE(eventually([&] { return server->stats().connections == 0; }));
}

TEST(Tls, IsRenewedForNewConnectionsAlone) {
  const TestAuthority next;
  TestServer server(secure());
  Client before = client_of(server);
  ASSERT_TRUE(before.send(request("GET", "/hello")).ok());

  server->renew_tls(context_of(next.issue("server")));

  EXPECT_TRUE(before.send(request("GET", "/hello")).ok());
  EXPECT_EQ(server->stats().accepted, 1U);
  EXPECT_THAT(failure_of(client_of(server)), HasSubstr("unable to get local issuer"));
  EXPECT_TRUE(
      client_of(server, {.authorities = next.certificate()}).send(request("GET", "/hello")).ok());
}

TEST(Tls, DrainsLikeAPlainServer) {
  TestServer server(secure());
  TlsClient idle(server.port());
  TlsClient streaming(server.port());
  streaming.send(get("/stream"));
  const TestServer::Call call = server.take();
  call.exchange->start(ok("a"));

  std::future<bool> drained =
      std::async(std::launch::async, [&] { return server->drain(kPatience); });
  TlsSession::Step how{};
  EXPECT_EQ(idle.receive_rest(how), "");
  EXPECT_EQ(how, TlsSession::Step::kEnded);
  call.exchange->finish();

  EXPECT_THAT(streaming.receive_rest(how), testing::EndsWith("0\r\n\r\n"));
  EXPECT_EQ(how, TlsSession::Step::kEnded);
  EXPECT_TRUE(drained.get());
}

}  // namespace
}  // namespace fathom::http
