// HTTPS of a running server, with certificates made for the test.

#include <chrono>
#include <csignal>
#include <filesystem>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http/tls_testing.h"
#include "system/process.h"
#include "system/raw_connections.h"
#include "system/server_process.h"

namespace fathom::system_test {
namespace {

using http::TestAuthority;
using http::TlsFiles;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::vector<std::string> flags_of(const TlsFiles& files) {
  return {"--ssl-certfile", files.certificate, "--ssl-keyfile", files.key};
}

std::vector<std::string> operator+(std::vector<std::string> some,
                                   const std::vector<std::string>& more) {
  some.insert(some.end(), more.begin(), more.end());
  return some;
}

TEST(TlsServer, ServesEverythingOverHttps) {
  const TestAuthority authority;
  const TlsFiles files = authority.issue("server", {.key_password = "open sesame"});
  ServerProcess server(
      FATHOM_PROGRAM,
      flags_of(files) + std::vector<std::string>{"--ssl-keyfile-password", "open sesame",
                                                 "--ssl-ca-certs", authority.certificate()});
  server.trust({.authorities = authority.certificate()});
  ASSERT_TRUE(server.wait_until_ready());

  EXPECT_EQ(server.ask("/health").status, 200);
  EXPECT_EQ(
      server.ask("/generate", R"({"text":"a","sampling_params":{"max_new_tokens":4}})").status,
      200);
  const http::Response stream = server.ask(
      "/v1/completions", R"({"prompt":"b","stream":true,"ignore_eos":true,"max_tokens":20})");
  EXPECT_EQ(events_of(stream.body).back(), "[DONE]");
  EXPECT_EQ(server.ask("/v1/completions", "{").status, 400);

  const std::string url = "https://127.0.0.1:" + std::to_string(server.port());
  const std::vector<std::string> question = {"chat", url, "--once", "a", "--max-tokens", "3"};
  const ProcessResult stranger = run_process(FATHOM_PROGRAM, question);
  const ProcessResult friendly = run_process(
      FATHOM_PROGRAM, question + std::vector<std::string>{"--ca-certs", authority.certificate()});
  const ProcessResult careless =
      run_process(FATHOM_PROGRAM, question + std::vector<std::string>{"--insecure"});
  EXPECT_EQ(stranger.exit_code, 1);
  EXPECT_THAT(stranger.err, AllOf(HasSubstr(url), HasSubstr("certificate")));
  EXPECT_EQ(friendly.exit_code, 0) << friendly.err;
  EXPECT_EQ(careless.exit_code, 0) << careless.err;

  RawConnections plain(server.port());
  plain.open(request_text("/health"));
  ASSERT_TRUE(plain.read_all());
  EXPECT_EQ(parse_answer(plain.received(0)).status, 400);
  EXPECT_THAT(parse_answer(plain.received(0)).body, HasSubstr("https://"));

  // One in the middle of a handshake and one that never began do not hold up the end.
  plain.open("");
  plain.open(std::string("\x16\x03\x01\x02\x00\x01", 6));
  const auto start = std::chrono::steady_clock::now();
  server.signal(SIGTERM);
  EXPECT_EQ(server.wait_exit(), 0);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(4));
  EXPECT_THAT(server.log(),
              AllOf(HasSubstr("Listening on https://127.0.0.1:"),
                    HasSubstr("ssl_keyfile_password='***'"), Not(HasSubstr("open sesame"))));
}

TEST(TlsServer, DoesNotStartWithWhatCannotWork) {
  const TestAuthority authority;
  const TestAuthority other;
  const TlsFiles files = authority.issue("server");
  const TlsFiles locked = authority.issue("locked", {.key_password = "open sesame"});
  const auto start = [](const std::vector<std::string>& flags) {
    const ProcessResult result = run_process(
        FATHOM_PROGRAM, std::vector<std::string>{"launch_server", "--port", "0"} + flags);
    EXPECT_EQ(result.exit_code, 1);
    return result.err;
  };

  EXPECT_THAT(start({"--ssl-certfile", files.certificate}), HasSubstr("needs --ssl-keyfile"));
  EXPECT_THAT(start(flags_of({"/no/such.crt", files.key, ""})),
              HasSubstr("certificate '/no/such.crt': No such file or directory"));
  EXPECT_THAT(start(flags_of({files.certificate, locked.key, ""})), HasSubstr("key '"));
  EXPECT_THAT(start(flags_of(locked)), HasSubstr("it is encrypted, and no password is given"));
  EXPECT_THAT(
      start(flags_of(files) + std::vector<std::string>{"--ssl-ca-certs", other.certificate()}),
      AllOf(HasSubstr("the warm-up request"), HasSubstr("unable to get local issuer")));
}

TEST(TlsServer, ReadsChangedFilesAgain) {
  const TestAuthority authority;
  const TestAuthority next;
  const TlsFiles files = authority.issue("server");
  ServerProcess server(FATHOM_PROGRAM,
                       flags_of(files) + std::vector<std::string>{"--enable-ssl-refresh"});
  server.trust({.authorities = authority.certificate()});
  ASSERT_TRUE(server.wait_until_ready());

  authority.write("server.key", "no key at all");
  EXPECT_THAT(server.wait_for_line("TLS: the changed files are not used"), HasSubstr(files.key));
  EXPECT_EQ(server.ask("/ping").status, 200) << "the old one still serves";
  const TlsFiles fresh = next.issue("server");
  for (const auto& [from, to] :
       {std::pair{fresh.certificate, files.certificate}, {fresh.key, files.key}}) {
    std::filesystem::copy_file(from, to, std::filesystem::copy_options::overwrite_existing);
  }
  EXPECT_FALSE(server.wait_for_line("TLS: new connections are served").empty());
  server.trust({.authorities = next.certificate()});
  EXPECT_EQ(server.ask("/ping").status, 200);

  server.signal(SIGTERM);
  EXPECT_EQ(server.wait_exit(), 0);
}

}  // namespace
}  // namespace fathom::system_test
