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

TEST_F(HostileClients, ReadersThatNeverReadTakeBoundedMemoryAndAreGivenUp) {
  constexpr std::size_t kReaders = 8;
  const std::int64_t before = server_.peak_resident_bytes();
  RawConnections connections(server_.port());
  // Each event repeats the alternatives of all positions so far: about 2 kB for each of them, so
  // that a reader's answer would come to gigabytes.
  for (std::size_t i = 0; i < kReaders; ++i) {
    connections.open(
        request_text("/generate",
                     R"({"text":"a","stream":true,"return_logprob":true,"top_logprobs_num":100,)"
                     R"("sampling_params":{"ignore_eos":true,"max_new_tokens":2000}})"),
        /*receive_buffer=*/4096);
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (server_.ask("/flush_cache").status != 400) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "none has begun";
  }
  while (server_.ask("/flush_cache").status == 400) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "some are not given up";
  }
  const std::int64_t each = (server_.peak_resident_bytes() - before) / std::int64_t{kReaders};
  std::cout << each / kMegabyte << " MiB for a reader that never reads\n";
  RecordProperty("mb_per_reader", static_cast<int>(each / kMegabyte));
  EXPECT_LT(each, 32 * kMegabyte);

  ASSERT_TRUE(connections.read_all());
  for (std::size_t i = 0; i < kReaders; ++i) {
    const RawAnswer answer = parse_answer(connections.received(i));
    EXPECT_EQ(answer.status, 200) << i;
    EXPECT_FALSE(answer.whole) << i << ": a cut answer must not look like a whole one";
  }
}

TEST_F(HostileClients, HalfAClosedConnectionStillGetsItsAnswer) {
  // The last one takes long enough for the server to probe whether its client is still there.
  const std::vector<std::string> bodies = {
      R"({"text":"a","sampling_params":{"max_new_tokens":30}})",
      R"({"text":"a","stream":true,"sampling_params":{"ignore_eos":true,"max_new_tokens":30}})",
      R"({"text":"a","sampling_params":{"ignore_eos":true,"max_new_tokens":600}})"};
  RawConnections connections(server_.port());
  for (const std::string& body : bodies) {
    connections.shut_sending(connections.open(request_text("/generate", body)));
  }
  ASSERT_TRUE(connections.read_all());
  for (std::size_t i = 0; i < bodies.size(); ++i) {
    const RawAnswer answer = parse_answer(connections.received(i));
    EXPECT_EQ(answer.status, 200) << connections.received(i);
    EXPECT_TRUE(answer.whole) << i;
  }
  EXPECT_EQ(events_of(parse_answer(connections.received(1)).body).back(), "[DONE]");
  EXPECT_THAT(connections.received(2), HasSubstr(R"("completion_tokens":600)"));
}

TEST_F(HostileClients, WhatIsTooLargeOrMalformedIsRefusedAndClosed) {
  const RawAnswer body = answer_to(
      "POST /generate HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
      "Content-Length: 100000000\r\n\r\n");
  EXPECT_EQ(body.status, 413);
  EXPECT_THAT(body.body, HasSubstr(R"("object":"error")"));
  // A body that does not say how long it is goes on until the server has enough.
  std::string chunks = "POST /generate HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 70; ++i) chunks += "100000\r\n" + std::string(kMegabyte, ' ') + "\r\n";
  EXPECT_EQ(answer_to(chunks).status, 413);
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
  RecordProperty("bytes_per_connection", static_cast<int>(each));

  // Every one of them is still good for a request.
  for (std::size_t i = 0; i < kConnections; ++i) connections.send(i, last_request_text("/ping"));
  ASSERT_TRUE(connections.read_all());
  std::size_t answered = 0;
  for (std::size_t i = 0; i < kConnections; ++i) {
    answered += parse_answer(connections.received(i)).status == 200 ? 1 : 0;
  }
  EXPECT_EQ(answered, kConnections);
}

}  // namespace
}  // namespace fathom::system_test
