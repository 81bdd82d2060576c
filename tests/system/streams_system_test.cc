// Many answers at once, and how they end.

#include <algorithm>
#include <csignal>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "system/raw_connections.h"
#include "system/server_process.h"

namespace fathom::system_test {
namespace {

using testing::HasSubstr;

constexpr std::int64_t kMegabyte = 1 << 20;

std::string completion(const std::string& prompt, int tokens) {
  return R"({"prompt":")" + prompt + R"(","stream":true,"ignore_eos":true,"max_tokens":)" +
         std::to_string(tokens) + R"(,"stream_options":{"include_usage":true}})";
}

// A stream that goes on until the context is full.
std::string endless() {
  return R"({"text":"Once upon a time","stream":true,"sampling_params":{"ignore_eos":true,)"
         R"("max_new_tokens":8000}})";
}

const Json& member(const Json& json, std::initializer_list<std::string_view> path) {
  static const Json nothing;
  const Json* value = &json;
  for (const std::string_view name : path) {
    value = value->is_array() && !value->as_array()->empty() ? &value->as_array()->front() : value;
    value = value->find(name);
    if (value == nullptr) return nothing;
  }
  return *value;
}

struct Load {
  std::int64_t requests = -1;  // running and waiting
  std::int64_t waiting = -1;
  bool operator==(const Load&) const = default;
};

Load load_of(ServerProcess& server) {
  const Result<Json> json = parse_json(server.ask("/get_load").body);
  if (!json.ok()) return {};
  return {member(*json, {"num_reqs"}).as_int64().value_or(-1),
          member(*json, {"num_waiting_reqs"}).as_int64().value_or(-1)};
}

// Asks until the engine has that much to do; what it had at last.
Load wait_for_load(ServerProcess& server, const Load& wanted) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  Load load;
  do {
    load = load_of(server);
  } while (load != wanted && std::chrono::steady_clock::now() < deadline);
  return load;
}

std::ostream& operator<<(std::ostream& out, const Load& load) {
  return out << load.requests << " requests, " << load.waiting << " of them waiting";
}

// Every event of a finished stream of completions; what is wrong with it, if anything.
std::string fault_of_completion(const std::string& received, std::int64_t tokens) {
  const RawAnswer answer = parse_answer(received);
  if (answer.status != 200 || !answer.whole) return "no whole answer: " + received;
  const std::vector<std::string> events = events_of(answer.body);
  if (events.size() < 3 || events.back() != "[DONE]") return "no [DONE]: " + answer.body;
  const Json usage = parse_json(events[events.size() - 2]).value();
  if (member(usage, {"usage", "completion_tokens"}).as_int64() != tokens) {
    return "other tokens: " + events[events.size() - 2];
  }
  const Json last = parse_json(events[events.size() - 3]).value();
  const std::string* const reason = member(last, {"choices", "finish_reason"}).as_string();
  if (reason == nullptr || *reason != "length") return "no end: " + events[events.size() - 3];
  return "";
}

// How many of the connections have brought an event.
std::size_t begun(const RawConnections& connections) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < connections.size(); ++i) {
    if (connections.received(i).find("data: ") != std::string::npos) ++count;
  }
  return count;
}

// The finish_reason of a stream of /generate; empty when it has no proper end.
std::string native_end(const std::string& received) {
  const RawAnswer answer = parse_answer(received);
  const std::vector<std::string> events = events_of(answer.body);
  if (!answer.whole || events.size() < 2 || events.back() != "[DONE]") return "";
  const Json last = parse_json(events[events.size() - 2]).value();
  const std::string* const type = member(last, {"meta_info", "finish_reason", "type"}).as_string();
  return type == nullptr ? "" : *type;
}

TEST(Streams, AThousandAtOnceAllFinishAndLeaveNothingBehind) {
  constexpr int kStreams = 1000;
  constexpr int kTokens = 8;
  constexpr std::int64_t kPoolTokens = 8192;
  constexpr std::int64_t kPoolBytes = kPoolTokens * 7704;
  constexpr std::int64_t kWeights = 23 * kMegabyte;
  ServerProcess server(FATHOM_PROGRAM, {"--max-total-tokens", std::to_string(kPoolTokens)});
  ASSERT_TRUE(server.wait_until_ready());
  std::int64_t after_first = 0;
  for (int round = 0; round < 2; ++round) {
    {
      RawConnections connections(server.port());
      for (int i = 0; i < kStreams; ++i) {
        connections.open(last_request_text(
            "/v1/completions", completion("Story number " + std::to_string(i), kTokens)));
      }
      ASSERT_TRUE(connections.read_all(std::chrono::seconds(300)));
      for (std::size_t i = 0; i < connections.size(); ++i) {
        ASSERT_EQ(fault_of_completion(connections.received(i), kTokens), "") << i;
      }
    }
    EXPECT_EQ(load_of(server), (Load{0, 0}));
    const std::int64_t resident = server.resident_bytes();
    EXPECT_LE(resident, kWeights + kPoolBytes + 150 * kMegabyte);
    if (round == 0) after_first = resident;
    // Flat: what the first thousand left was not left again.
    EXPECT_LE(resident, after_first + 16 * kMegabyte);
    RecordProperty("resident_mb_" + std::to_string(round), static_cast<int>(resident / kMegabyte));
    std::cout << "resident after " << (round + 1) * kStreams << " streams: " << resident / kMegabyte
              << " MiB\n";
  }
  server.signal(SIGTERM);
  EXPECT_EQ(server.wait_exit(), 0);
}

TEST(Streams, ThoseThatStayLoseNothingWhenOthersLeave) {
  constexpr std::size_t kStreams = 240;
  constexpr int kTokens = 24;
  ServerProcess server(FATHOM_PROGRAM, {"--max-running-requests", "32"});
  ASSERT_TRUE(server.wait_until_ready());
  RawConnections connections(server.port());
  for (std::size_t i = 0; i < kStreams; ++i) {
    connections.open(last_request_text("/v1/completions",
                                       completion("Story number " + std::to_string(i), kTokens)));
  }
  // Some of those that leave have begun by then, most wait.
  ASSERT_TRUE(
      connections.read_until(0, kStreams, [&] { return begun(connections) >= kStreams / 8; }));
  for (std::size_t i = 0; i < kStreams; i += 3) connections.close(i);

  ASSERT_TRUE(connections.read_all());
  for (std::size_t i = 0; i < kStreams; ++i) {
    if (i % 3 == 0) continue;
    EXPECT_EQ(fault_of_completion(connections.received(i), kTokens), "") << i;
  }
  EXPECT_EQ(wait_for_load(server, {0, 0}), (Load{0, 0}));
}

TEST(Streams, SigtermLetsEveryStreamEndAndRefusesNewOnes) {
  constexpr int kStreams = 40;
  constexpr int kTokens = 120;
  ServerProcess server(FATHOM_PROGRAM, {"--max-running-requests", "16"});
  ASSERT_TRUE(server.wait_until_ready());
  RawConnections connections(server.port());
  for (int i = 0; i < kStreams; ++i) {
    connections.open(last_request_text("/v1/completions", completion("a", kTokens)));
  }
  ASSERT_EQ(wait_for_load(server, {kStreams, kStreams - 16}), (Load{kStreams, kStreams - 16}));

  server.signal(SIGTERM);
  ASSERT_FALSE(server.wait_for_line("Told to end").empty());
  const http::Response late = server.ask("/v1/completions", completion("b", 1));
  EXPECT_EQ(late.status, 503) << late.body;
  EXPECT_NE(late.headers.find("Retry-After"), nullptr);
  EXPECT_EQ(server.ask("/health").status, 503);

  ASSERT_TRUE(connections.read_all());
  for (std::size_t i = 0; i < kStreams; ++i) {
    EXPECT_EQ(fault_of_completion(connections.received(i), kTokens), "") << i;
  }
  EXPECT_EQ(server.wait_exit(), 0);
}

TEST(Streams, ASecondSigtermAbortsThem) {
  ServerProcess server(FATHOM_PROGRAM, {"--max-running-requests", "2"});
  ASSERT_TRUE(server.wait_until_ready());
  RawConnections connections(server.port());
  for (int i = 0; i < 4; ++i) connections.open(last_request_text("/generate", endless()));
  ASSERT_EQ(wait_for_load(server, {4, 2}), (Load{4, 2}));

  server.signal(SIGTERM);
  ASSERT_FALSE(server.wait_for_line("Told to end").empty());
  server.signal(SIGTERM);
  ASSERT_TRUE(connections.read_all());
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(native_end(connections.received(i)), "abort");
  EXPECT_EQ(server.wait_exit(), 0);
}

// What is still being read and tokenized when the signals come is not with the engine yet.
TEST(Streams, ASecondSigtermAlsoAbortsWhatIsStillBeingRead) {
  ServerProcess server(FATHOM_PROGRAM);
  ASSERT_TRUE(server.wait_until_ready());
  // Reading it takes a second or more, answering it a quarter of an hour.
  std::string prompt;
  for (int i = 0; i < 600; ++i) prompt += "Once upon a time there was a dragon. ";
  std::string body = R"({"sampling_params":{"ignore_eos":true,"max_new_tokens":1000},"text":[)";
  for (int i = 0; i < 1000; ++i) body += (i == 0 ? "\"" : ",\"") + prompt + "\"";
  RawConnections connections(server.port());
  connections.open(last_request_text("/generate", body + "]}"));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (server.ask("/flush_cache").status != 400) {  // until the request is known
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
  }

  server.signal(SIGTERM);
  ASSERT_FALSE(server.wait_for_line("Told to end").empty());
  server.signal(SIGTERM);
  ASSERT_FALSE(server.wait_for_line("Told to end a second time").empty());
  const std::int64_t with_engine = load_of(server).requests;
  RecordProperty("requests_with_the_engine", static_cast<int>(with_engine));  // 0, or it shows less
  ASSERT_TRUE(connections.read_all());
  const RawAnswer answer = parse_answer(connections.received(0));
  EXPECT_TRUE(answer.whole);
  EXPECT_THAT(answer.body, HasSubstr(R"("finish_reason":{"type":"abort")"));
  EXPECT_EQ(server.wait_exit(), 0);
}

TEST(Streams, NobodyCanKeepTheServerFromEnding) {
  ServerProcess server(FATHOM_PROGRAM);
  ASSERT_TRUE(server.wait_until_ready());
  RawConnections connections(server.port());
  connections.open("");
  connections.open("POST /generate HTTP/1.1\r\nHost: te");
  connections.open("POST /generate HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n{");
  // More than the system holds for a client that does not read, less than the server does.
  const std::size_t stuck = connections.open(
      request_text("/generate",
                   R"({"text":"a","stream":true,"return_logprob":true,"top_logprobs_num":100,)"
                   R"("sampling_params":{"ignore_eos":true,"max_new_tokens":80}})"),
      /*receive_buffer=*/4096);
  const std::string longer = R"({"text":"a","sampling_params":{"ignore_eos":true,)"
                             R"("max_new_tokens":160}})";
  ASSERT_EQ(server.ask("/generate", longer).status, 200);
  ASSERT_EQ(load_of(server), (Load{0, 0})) << "both have their tokens";

  server.signal(SIGTERM);
  EXPECT_EQ(server.wait_exit(std::chrono::seconds(60)), 0);
  ASSERT_TRUE(connections.read_all());
  const RawAnswer answer = parse_answer(connections.received(stuck));
  EXPECT_EQ(answer.status, 200);
  EXPECT_FALSE(answer.whole) << "nothing was stuck";
}

TEST(Streams, AClientThatGoesTakesItsRequestWithIt) {
  ServerProcess server(FATHOM_PROGRAM, {"--max-running-requests", "2"});
  ASSERT_TRUE(server.wait_until_ready());
  const std::string whole =
      R"({"text":"a","sampling_params":{"ignore_eos":true,"max_new_tokens":8000}})";
  RawConnections connections(server.port());
  connections.open(request_text("/generate", endless()));
  connections.open(request_text("/generate", whole));
  ASSERT_EQ(wait_for_load(server, {2, 0}), (Load{2, 0}));
  connections.open(request_text("/generate", endless()));
  connections.open(request_text("/generate", whole));
  ASSERT_EQ(wait_for_load(server, {4, 2}), (Load{4, 2}));

  connections.close(2);
  connections.close(3);
  EXPECT_EQ(wait_for_load(server, {2, 0}), (Load{2, 0}));
  connections.close(0);
  EXPECT_EQ(wait_for_load(server, {1, 0}), (Load{1, 0}));
  connections.close(1);
  EXPECT_EQ(wait_for_load(server, {0, 0}), (Load{0, 0}));
}

TEST(Streams, AbortRequestEndsOne) {
  ServerProcess server(FATHOM_PROGRAM);
  ASSERT_TRUE(server.wait_until_ready());
  RawConnections connections(server.port());
  const std::string named = endless();
  connections.open(last_request_text("/generate", R"({"rid":"mine",)" + named.substr(1)));
  ASSERT_TRUE(connections.read_until(0, 1, [&] { return begun(connections) == 1; }));
  EXPECT_EQ(server.ask("/abort_request", R"({"rid":"mine"})").status, 200);
  ASSERT_TRUE(connections.read_all());
  EXPECT_EQ(native_end(connections.received(0)), "abort");
}

}  // namespace
}  // namespace fathom::system_test
