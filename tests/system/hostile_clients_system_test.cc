// Clients that are slow, rude, broken or many.

#include <algorithm>
#include <csignal>
#include <sys/resource.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "system/raw_connections.h"
#include "system/server_process.h"

namespace fathom::system_test {
namespace {

using testing::HasSubstr;

constexpr std::int64_t kMegabyte = 1 << 20;

class HostileClients : public testing::Test {
 protected:
  HostileClients() : server_(FATHOM_PROGRAM) {}
  void SetUp() override { ASSERT_TRUE(server_.wait_until_ready()); }
  void TearDown() override {
    server_.signal(SIGTERM);
    EXPECT_EQ(server_.wait_exit(), 0);
  }

  // Sends bytes on a connection of their own and reads the answer until the server closes.
  RawAnswer answer_to(const std::string& bytes) {
    RawConnections connections(server_.port());
    connections.open(bytes);
    EXPECT_TRUE(connections.read_all());
    return parse_answer(connections.received(0));
  }

  ServerProcess server_;
};

TEST_F(HostileClients, ASlowReaderDelaysNobodyAndGetsItsAnswer) {
  RawConnections slow(server_.port());
  // About a megabyte: each event of /generate repeats the text so far.
  slow.open(last_request_text("/generate",
                              R"({"text":"a","stream":true,"sampling_params":{"ignore_eos":true,)"
                              R"("max_new_tokens":600}})"),
            /*receive_buffer=*/4096);
  RawConnections quick(server_.port());
  for (int i = 0; i < 20; ++i) {
    quick.open(last_request_text(
        "/v1/completions", R"({"prompt":"b","stream":true,"ignore_eos":true,"max_tokens":20})"));
  }
  ASSERT_TRUE(quick.read_all());
  for (std::size_t i = 0; i < quick.size(); ++i) {
    EXPECT_THAT(quick.received(i), HasSubstr("data: [DONE]")) << i;
  }
  ASSERT_TRUE(slow.read_all());
  const RawAnswer answer = parse_answer(slow.received(0));
  EXPECT_TRUE(answer.whole);
  EXPECT_EQ(events_of(answer.body).back(), "[DONE]");
  EXPECT_THAT(answer.body, HasSubstr(R"("completion_tokens":600)"));
}

TEST_F(HostileClients, HalfAClosedConnectionStillGetsItsAnswer) {
  RawConnections connections(server_.port());
  connections.open(
      request_text("/generate", R"({"text":"a","sampling_params":{"max_new_tokens":30}})"));
  connections.shut_sending(0);
  ASSERT_TRUE(connections.read_all());
  const RawAnswer answer = parse_answer(connections.received(0));
  EXPECT_EQ(answer.status, 200) << connections.received(0);
  EXPECT_TRUE(answer.whole);
}

TEST_F(HostileClients, WhatIsTooLargeOrMalformedIsRefusedAndClosed) {
  const RawAnswer body = answer_to(
      "POST /generate HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
      "Content-Length: 100000000\r\n\r\n");
  EXPECT_EQ(body.status, 413);
  EXPECT_THAT(body.body, HasSubstr(R"("object":"error")"));
  EXPECT_EQ(
      answer_to(request_text("/health", "", "X: " + std::string(100000, 'x') + "\r\n")).status,
      431);
  EXPECT_EQ(answer_to("NONSENSE\r\n\r\n").status, 400);
  EXPECT_EQ(answer_to("GET /health HTTP/3.7\r\nHost: t\r\n\r\n").status, 505);
  EXPECT_EQ(
      answer_to("POST /generate HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip\r\n\r\n").status,
      501);
  const RawAnswer json = answer_to(last_request_text("/v1/chat/completions", R"({"messages":[)"));
  EXPECT_EQ(json.status, 400);
  EXPECT_THAT(json.body, HasSubstr(R"({"object":"error","message":")"));
  EXPECT_THAT(json.body, HasSubstr(R"("code":400})"));
  EXPECT_EQ(server_.ask("/health").status, 200) << "nobody else noticed";
}

TEST_F(HostileClients, PipelinedRequestsAreAnsweredInOrder) {
  RawConnections connections(server_.port());
  std::string all;
  for (int i = 1; i <= 3; ++i) {
    all += request_text("/generate", R"({"text":"a","rid":"r)" + std::to_string(i) +
                                         R"(","sampling_params":{"ignore_eos":true,)" +
                                         R"("max_new_tokens":)" + std::to_string(40 / i) + "}}");
  }
  connections.open(all + last_request_text("/v1/models"));
  ASSERT_TRUE(connections.read_all());
  std::string rest = connections.received(0);
  for (int i = 1; i <= 3; ++i) {
    const RawAnswer answer = parse_answer(rest);
    ASSERT_TRUE(answer.whole) << rest;
    EXPECT_THAT(answer.body, HasSubstr(R"("id":"r)" + std::to_string(i) + "\""));
    rest = answer.rest;
  }
  EXPECT_THAT(parse_answer(rest).body, HasSubstr(R"("object":"list")"));
}

TEST_F(HostileClients, FiveThousandIdleConnectionsCostLittle) {
  constexpr std::size_t kConnections = 5000;
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  if (limit.rlim_max < kConnections + 200) {
    GTEST_SKIP() << "this system allows " << limit.rlim_max << " open files to a process";
  }
  limit.rlim_cur = limit.rlim_max;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  const std::int64_t before = server_.resident_bytes();
  RawConnections connections(server_.port());
  for (std::size_t i = 0; i < kConnections; ++i) connections.open("");
  EXPECT_EQ(server_.ask("/health").status, 200);
  EXPECT_EQ(
      server_.ask("/generate", R"({"text":"a","sampling_params":{"max_new_tokens":4}})").status,
      200);
  const std::int64_t each = (server_.resident_bytes() - before) / static_cast<int>(kConnections);
  EXPECT_LT(each, 8192) << "bytes for a connection";
  std::cout << each << " bytes for an idle connection\n";
  std::size_t open = 0;
  for (std::size_t i = 0; i < kConnections; ++i) open += connections.ended(i) ? 0 : 1;
  EXPECT_EQ(open, kConnections);
}

}  // namespace
}  // namespace fathom::system_test
