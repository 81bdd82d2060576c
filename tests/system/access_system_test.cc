// Keys, browsers, names of requests, limits and the access log of a running server.

#include <chrono>
#include <csignal>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "system/process.h"
#include "system/raw_connections.h"
#include "system/server_process.h"

namespace fathom::system_test {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr const char* kPrompt = R"({"text":"a","sampling_params":{"max_new_tokens":2}})";
constexpr const char* kStream = R"({"prompt":"b","stream":true,"ignore_eos":true,"max_tokens":3})";

http::Response send(ServerProcess& server,
                    const std::string& path,
                    const std::string& body,
                    const http::Headers& headers,
                    const std::string& method = "") {
  http::Request request;
  request.method = method;
  if (method.empty()) request.method = body.empty() ? "GET" : "POST";
  request.target = path;
  request.body = body;
  request.headers = headers;
  if (!body.empty()) request.headers.add("Content-Type", "application/json");
  Result<http::Response> response = server.client().send(request);
  if (response.ok()) return std::move(response).value();
  ADD_FAILURE() << path << ": " << response.status().message();
  return {};
}

http::Headers with(const std::string& name, const std::string& value) {
  http::Headers headers;
  headers.add(name, value);
  return headers;
}

std::string header(const http::Response& response, const std::string& name) {
  const std::string* const found = response.headers.find(name);
  return found == nullptr ? "" : *found;
}

void expect_end(ServerProcess& server) {
  server.signal(SIGTERM);
  EXPECT_EQ(server.wait_exit(), 0);
}

TEST(Access, KeysGuardARunningServerAndShowNowhere) {
  ServerProcess server(FATHOM_PROGRAM,
                       {"--api-key", "open-sesame", "--admin-api-key", "master-of-all"});
  ASSERT_TRUE(server.wait_until_ready()) << "its own warm-up has the key";
  const http::Headers key = with("Authorization", "Bearer open-sesame");
  const http::Headers admin = with("Authorization", "Bearer master-of-all");

  for (const char* const path : {"/v1/models", "/server_info", "/nowhere"}) {
    const http::Response refused = server.ask(path);
    EXPECT_EQ(refused.status, 401) << path;
    EXPECT_EQ(refused.body, R"({"error":"Unauthorized"})");
  }
  EXPECT_EQ(server.ask("/generate", kPrompt).status, 401);
  EXPECT_EQ(send(server, "/generate", kPrompt, with("Authorization", "Bearer wrong")).status, 401);
  EXPECT_EQ(send(server, "/generate", kPrompt, key).status, 200);
  EXPECT_EQ(send(server, "/generate", kPrompt, with("x-api-key", "open-sesame")).status, 200);
  EXPECT_EQ(server.ask("/health").status, 200);
  EXPECT_EQ(server.ask("/health_generate").status, 200);
  const http::Response forbidden = send(server, "/flush_cache", "", key);
  EXPECT_EQ(forbidden.status, 403);
  EXPECT_EQ(forbidden.body, R"({"error":"Forbidden"})");
  EXPECT_EQ(server.ask("/flush_cache").status, 401);
  EXPECT_EQ(send(server, "/flush_cache", "", admin).status, 200);

  const http::Response info = send(server, "/server_info", "", key);
  EXPECT_EQ(info.status, 200);
  EXPECT_THAT(info.body, AllOf(HasSubstr(R"("api_key":"***")"), Not(HasSubstr("open-sesame")),
                               Not(HasSubstr("master-of-all"))));
  expect_end(server);
  EXPECT_THAT(server.log(), AllOf(HasSubstr("api_key='***'"), HasSubstr("admin_api_key='***'"),
                                  Not(HasSubstr("open-sesame")), Not(HasSubstr("master-of-all"))));
}

TEST(Access, AnEmptyKeyAndADryRunKeepTheSecret) {
  const ProcessResult empty = run_process(FATHOM_PROGRAM, {"launch_server", "--api-key", ""});
  EXPECT_EQ(empty.exit_code, 1);
  EXPECT_THAT(empty.err, HasSubstr("at least one character"));
  const ProcessResult dry = run_process(
      FATHOM_PROGRAM,
      {"launch_server", "--dry-run", "--json", "--device", "cpu", "--api-key", "open-sesame"});
  EXPECT_EQ(dry.exit_code, 0);
  EXPECT_THAT(dry.out + dry.err, AllOf(HasSubstr("***"), Not(HasSubstr("open-sesame"))));
}

TEST(Access, ChatBringsItsKey) {
  ServerProcess server(FATHOM_PROGRAM, {"--api-key", "open-sesame"});
  ASSERT_TRUE(server.wait_until_ready());
  const std::string url = "http://127.0.0.1:" + std::to_string(server.port());
  const std::vector<std::string> question = {"chat", url, "--once", "a", "--max-tokens", "3"};

  const ProcessResult refused = run_process(FATHOM_PROGRAM, question);
  std::vector<std::string> with_key = question;
  with_key.insert(with_key.end(), {"--api-key", "open-sesame"});
  const ProcessResult answered = run_process(FATHOM_PROGRAM, with_key);

  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr("401"));
  EXPECT_EQ(answered.exit_code, 0) << answered.err;
  expect_end(server);
}

TEST(Access, BrowsersOfAnyOriginAndNamesOfRequestsAreAnswered) {
  ServerProcess server(FATHOM_PROGRAM, {"--api-key", "open-sesame"});
  ASSERT_TRUE(server.wait_until_ready());
  http::Headers asked = with("Origin", "https://page.example");
  asked.add("Access-Control-Request-Method", "POST");
  asked.add("Access-Control-Request-Headers", "authorization,content-type");
  http::Headers key = with("Origin", "https://page.example");
  key.add("X-Request-Id", "name-7");
  const http::Headers keyless = key;
  key.add("Authorization", "Bearer open-sesame");

  const http::Response preflight = send(server, "/v1/completions", "", asked, "OPTIONS");
  const http::Response answer = send(server, "/generate", kPrompt, key);
  const http::Response stream = send(server, "/v1/completions", kStream, key);
  const http::Response malformed = send(server, "/v1/completions", "{", key);
  const http::Response unauthorized = send(server, "/generate", kPrompt, keyless);
  const http::Response unknown = send(server, "/nowhere", "", key);

  EXPECT_EQ(preflight.status, 200);
  EXPECT_EQ(header(preflight, "Access-Control-Allow-Headers"), "authorization,content-type");
  EXPECT_THAT(header(preflight, "Access-Control-Allow-Methods"), HasSubstr("POST"));
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(stream.status, 200);
  EXPECT_THAT(stream.body, HasSubstr("data: [DONE]"));
  EXPECT_EQ(malformed.status, 400);
  EXPECT_EQ(unauthorized.status, 401);
  EXPECT_EQ(unknown.status, 404);
  for (const http::Response* const response :
       {&preflight, &answer, &stream, &malformed, &unauthorized, &unknown}) {
    EXPECT_EQ(header(*response, "Access-Control-Allow-Origin"), "https://page.example");
    EXPECT_EQ(header(*response, "Access-Control-Allow-Credentials"), "true");
    EXPECT_EQ(header(*response, "X-Request-Id"), response == &preflight ? "" : "name-7");
  }
  expect_end(server);
}

TEST(Access, TheLogHasALineForEachAnswer) {
  ServerProcess server(FATHOM_PROGRAM, {"--log-level", "warning", "--log-level-http", "info",
                                        "--uvicorn-access-log-exclude-prefixes", "/health"});
  // The ready line is of the level that is off.
  ASSERT_THAT(server.wait_for_line("POST /generate"),
              ContainsRegex("^\\[[-0-9]+ [:0-9]+\\] INFO:     127.0.0.1:[0-9]+ - \"POST /generate "
                            "HTTP/1.1\" 200 OK$"));
  expect_end(server);
}

TEST(Access, TheLogIsAtTheLevelOfTheRest) {
  ServerProcess server(FATHOM_PROGRAM, {"--uvicorn-access-log-exclude-prefixes", "/health"});
  ASSERT_TRUE(server.wait_until_ready());
  EXPECT_EQ(server.ask("/health").status, 200);
  EXPECT_EQ(server.ask("/v1/models?x=1").status, 200);
  EXPECT_EQ(server.ask("/nowhere").status, 404);
  EXPECT_EQ(server.ask("/v1/completions", kStream).status, 200);
  expect_end(server);

  EXPECT_THAT(server.log(), AllOf(HasSubstr(" - \"GET /v1/models?x=1 HTTP/1.1\" 200 OK"),
                                  HasSubstr(" - \"GET /nowhere HTTP/1.1\" 404 Not Found"),
                                  HasSubstr(" - \"POST /v1/completions HTTP/1.1\" 200 OK"),
                                  Not(HasSubstr("GET /health"))));
}

TEST(Access, BodiesAreBoundedByTheFlag) {
  ServerProcess server(FATHOM_PROGRAM, {"--max-body-mib", "1", "--log-level-http", "error"});
  ASSERT_TRUE(server.wait_until_ready());
  const std::string fits = R"({"text":")" + std::string(1'000'000, 'a') + R"("})";
  const std::string too_large = R"({"text":")" + std::string(1'100'000, 'a') + R"("})";

  EXPECT_EQ(server.ask("/generate", fits).status, 400) << "it was read, and is too long a prompt";
  const http::Response refused = server.ask("/generate", too_large);

  EXPECT_EQ(refused.status, 413);
  EXPECT_THAT(refused.body, StartsWith(R"({"object":"error","message":")"));
  expect_end(server);
  EXPECT_THAT(server.log(), Not(HasSubstr("INFO:     ")));
}

TEST(Access, WhoIsStuckDoesNotHoldUpTheEnd) {
  constexpr std::size_t kRequests = 800;
  ServerProcess server(FATHOM_PROGRAM);
  ASSERT_TRUE(server.wait_until_ready());
  RawConnections stuck(server.port());
  // Megabytes of answers, one behind the other, and it never reads.
  std::string requests;
  for (std::size_t i = 0; i < kRequests; ++i) requests += request_text("/server_info");
  stuck.open(requests, /*receive_buffer=*/4096);
  stuck.open("POST /generate HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\n{");
  // Until the access log shows that no more of them is answered.
  std::size_t answered = 0;
  for (std::size_t seen = 1; answered != seen;) {
    seen = answered;
    for (int i = 0; i < 20; ++i) EXPECT_EQ(server.ask("/health").status, 200);
    const std::string log = server.log();
    answered = 0;
    for (std::size_t at = 0; (at = log.find("GET /server_info", at)) != std::string::npos; ++at) {
      ++answered;
    }
  }
  EXPECT_GT(answered, 0U);
  EXPECT_LT(answered, kRequests);

  const auto start = std::chrono::steady_clock::now();
  server.signal(SIGTERM);
  EXPECT_EQ(server.wait_exit(), 0);

  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(4));
}

}  // namespace
}  // namespace fathom::system_test
