// The program as a client meets it: start, endpoints, refusals.

#include <algorithm>
#include <chrono>
#include <csignal>
#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "system/raw_connections.h"
#include "system/server_process.h"

namespace fathom::system_test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using Clock = std::chrono::steady_clock;

Json json_of(const http::Response& response) {
  Result<Json> json = parse_json(response.body);
  if (json.ok()) return std::move(json).value();
  ADD_FAILURE() << response.status << " " << response.body;
  return {};
}

TEST(Start, HealthIsReachedWithinASecond) {
  std::chrono::milliseconds best = std::chrono::hours(1);
  for (int i = 0; i < 3; ++i) {
    const auto begin = Clock::now();
    ServerProcess server(FATHOM_PROGRAM);
    while (server.ask("/health").status != 200 && server.running()) {
    }
    best =
        std::min(best, std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin));
  }
  std::cout << "from exec to /health 200: " << best.count() << " ms\n";
  RecordProperty("milliseconds", static_cast<int>(best.count()));
  // The best of three, because a test machine may be busy with something else.
  EXPECT_LT(best, std::chrono::seconds(1));
}

TEST(Start, HealthAnswersFromTheFirstMomentOn) {
  ServerProcess server(FATHOM_PROGRAM);
  // As soon as it listens: not ready yet, or ready already, but never refused.
  const int status = server.ask("/health").status;
  EXPECT_TRUE(status == 200 || status == 503) << status;
  ASSERT_TRUE(server.wait_until_ready());
  EXPECT_EQ(server.ask("/health").status, 200);
  EXPECT_EQ(server.ask("/health_generate").status, 200);
  server.signal(SIGINT);
  EXPECT_EQ(server.wait_exit(), 0);
}

TEST(Start, WithoutAWarmUpItIsReadyAllTheSame) {
  ServerProcess server(FATHOM_PROGRAM, {"--skip-server-warmup"});
  ASSERT_TRUE(server.wait_until_ready());
  EXPECT_EQ(server.ask("/health").status, 200);
}

TEST(Start, ATakenPortIsSaidInASentence) {
  ServerProcess first(FATHOM_PROGRAM);
  const std::string port = std::to_string(first.port());
  ServerProcess second(FATHOM_PROGRAM, {"--port", port});
  EXPECT_EQ(second.wait_exit(), 1);
  EXPECT_FALSE(second
                   .wait_for_line("fathom launch_server: cannot listen on 127.0.0.1:" + port +
                                  ": another program listens there")
                   .empty())
      << second.log();
}

TEST(Start, ACheckpointWithoutATokenizerIsSaidInASentence) {
  ServerProcess server(FATHOM_PROGRAM, {"--model-path", FATHOM_TEST_DATA "/micro-bf16"});
  EXPECT_EQ(server.wait_exit(), 1);
  EXPECT_FALSE(server.wait_for_line("--skip-tokenizer-init serves token ids").empty())
      << server.log();
}

class Server : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    server() = std::make_unique<ServerProcess>(
        FATHOM_PROGRAM, std::vector<std::string>{"--random-seed", "7", "--enable-cache-report"});
    ASSERT_TRUE(server()->wait_until_ready());
  }
  static void TearDownTestSuite() {
    server()->signal(SIGTERM);
    EXPECT_EQ(server()->wait_exit(), 0);
    server().reset();
  }
  static http::Response ask(const std::string& path, const std::string& body = "") {
    return server()->ask(path, body);
  }

  // One for all tests of the suite.
  static std::unique_ptr<ServerProcess>& server() {
    static std::unique_ptr<ServerProcess> only;
    return only;
  }
};

TEST_F(Server, TellsWhatItIs) {
  EXPECT_THAT(ask("/v1/models").body,
              StartsWith(R"({"object":"list","data":[{"id":"fathom-tiny")"));
  EXPECT_EQ(ask("/get_model_info").body, ask("/model_info").body);
  EXPECT_THAT(ask("/model_info").body, HasSubstr(R"("model_type":"deepseek_v32")"));
  const Json info = json_of(ask("/get_server_info"));
  EXPECT_EQ(*info.find("random_seed")->as_int64(), 7);
  EXPECT_EQ(*json_of(ask("/server_info")).find("random_seed")->as_int64(), 7);
  EXPECT_EQ(ask("/no/such/path").status, 404);
}

TEST_F(Server, AnswersAChat) {
  const http::Response response = ask(
      "/v1/chat/completions",
      R"({"messages":[{"role":"user","content":"What is the capital of Norway?"}],"temperature":0})");
  EXPECT_EQ(response.status, 200);
  EXPECT_THAT(response.body, HasSubstr(R"("content":"The capital of Norway is Oslo.")"));
  EXPECT_THAT(response.body, HasSubstr(R"("finish_reason":"stop","matched_stop":1)"));
}

TEST_F(Server, StreamsTheSameText) {
  const std::string messages =
      R"({"messages":[{"role":"user","content":"tell me a story about a dragon"}],"seed":5)";
  const Json whole = json_of(ask("/v1/chat/completions", messages + "}"));
  RawConnections connections(server()->port());
  connections.open(last_request_text("/v1/chat/completions", messages + R"(,"stream":true})"));
  ASSERT_TRUE(connections.read_all());
  std::string text;
  for (const std::string& event : events_of(parse_answer(connections.received(0)).body)) {
    if (event == "[DONE]") continue;
    const Json chunk = parse_json(event).value();
    const Json* const content =
        chunk.find("choices")->as_array()->front().find("delta")->find_set("content");
    if (content != nullptr) text += *content->as_string();
  }
  EXPECT_EQ(
      text,
      *whole.find("choices")->as_array()->front().find("message")->find("content")->as_string());
  EXPECT_THAT(text, StartsWith("Once upon a time"));
}

TEST_F(Server, CompletesAPrompt) {
  const Json json =
      json_of(ask("/v1/completions", R"({"prompt":["1, 2, 3,","a"],"max_tokens":4,"temperature":0,)"
                                     R"("ignore_eos":true,"n":2})"));
  ASSERT_EQ(json.find("choices")->as_array()->size(), 4U);
  EXPECT_EQ(*json.find("usage")->find("completion_tokens")->as_int64(), 16);
}

TEST_F(Server, TellsWhatOfAPromptWasCached) {
  std::string prompt;
  for (int i = 0; i < 150; ++i) prompt += (i == 0 ? "" : ",") + std::to_string(100 + i);
  const auto cached = [&prompt] {
    const Json json =
        json_of(ask("/v1/completions", R"({"max_tokens":1,"prompt":[)" + prompt + "]}"));
    const Json* const details = json.find("usage")->find("prompt_tokens_details");
    if (details == nullptr || details->is_null()) return std::int64_t{0};
    return details->find("cached_tokens")->as_int64().value_or(-1);
  };
  EXPECT_EQ(cached(), 0);
  EXPECT_EQ(cached(), 128);  // of 150, whole pages
}

TEST_F(Server, GeneratesWithLogprobs) {
  const Json json = json_of(
      ask("/generate",
          R"({"text":"The capital of Norway is","return_logprob":true,"logprob_start_len":0,)"
          R"("top_logprobs_num":2,"sampling_params":{"temperature":0,"max_new_tokens":3}})"));
  const Json& meta = *json.find("meta_info");
  EXPECT_EQ(static_cast<std::int64_t>(meta.find("input_token_logprobs")->as_array()->size()),
            *meta.find("prompt_tokens")->as_int64());
  EXPECT_EQ(meta.find("output_token_logprobs")->as_array()->size(), 3U);
  EXPECT_EQ(meta.find("output_top_logprobs")->as_array()->front().as_array()->size(), 2U);
}

TEST_F(Server, StreamsAllThatIsThereSoFar) {
  const std::string fields =
      R"({"text":"Once upon a time","sampling_params":{"temperature":0,"ignore_eos":true,)"
      R"("max_new_tokens":40})";
  const Json whole = json_of(ask("/generate", fields + "}"));
  RawConnections connections(server()->port());
  connections.open(last_request_text("/generate", fields + R"(,"stream":true})"));
  ASSERT_TRUE(connections.read_all());
  std::vector<std::string> events = events_of(parse_answer(connections.received(0)).body);
  ASSERT_GT(events.size(), 2U);
  ASSERT_EQ(events.back(), "[DONE]");
  events.pop_back();
  std::string text;
  Json last;
  for (const std::string& event : events) {
    last = parse_json(event).value();
    EXPECT_THAT(*last.find("text")->as_string(), StartsWith(text));
    text = *last.find("text")->as_string();
  }
  EXPECT_EQ(text, *whole.find("text")->as_string());
  EXPECT_EQ(to_json(*last.find("output_ids")), to_json(*whole.find("output_ids")));
  EXPECT_EQ(to_json(*last.find("meta_info")->find("finish_reason")),
            R"({"type":"length","length":40})");
}

TEST_F(Server, SeedsRepeatAndDiffer) {
  const auto text = [](const std::string& seed) {
    return ask("/v1/completions",
               R"({"prompt":"Once","max_tokens":30,"temperature":1.5,"seed":)" + seed + "}")
        .body;
  };
  const auto choice = [&](const std::string& seed) {
    return to_json(json_of({200, {}, text(seed)}).find("choices")->as_array()->front());
  };
  EXPECT_EQ(choice("11"), choice("11"));
  EXPECT_NE(choice("11"), choice("12"));
}

TEST_F(Server, TokenizesAndBack) {
  const Json tokens =
      json_of(ask("/tokenize", R"({"prompt":"Grüße, 世界! 12","add_special_tokens":false})"));
  const Json text =
      json_of(ask("/detokenize", R"({"tokens":)" + to_json(*tokens.find("tokens")) + "}"));
  EXPECT_EQ(*text.find("text")->as_string(), "Grüße, 世界! 12");
}

TEST_F(Server, RefusesInOpenAisForm) {
  const http::Response response =
      ask("/v1/chat/completions", R"({"messages":[{"role":"user","content":"a"},{"role":"x"}]})");
  EXPECT_EQ(response.status, 400);
  EXPECT_THAT(response.body, StartsWith(R"({"object":"error","message":"messages[1]: role: )"));
  EXPECT_THAT(response.body, HasSubstr(R"("param":null,"code":400})"));
  const http::Response late = ask("/generate", R"({"text":"a","sampling_params":{"regex":"(["}})");
  EXPECT_EQ(late.status, 400) << "by the grammar's compiler, which the engine asks";
  EXPECT_THAT(late.body, HasSubstr("Regex parsing error at position 3"));
}

// What a token was worth when it was drawn is what it is worth when it is read.
TEST(TokenIds, OfAnAnswerHaveTheSameLogprobsInAPrompt) {
  const std::string model = FATHOM_TEST_DATA "/micro-bf16";
  ServerProcess server(FATHOM_PROGRAM,
                       {"--model-path", model, "--skip-tokenizer-init", "--context-length", "512",
                        "--arithmetic", "exact", "--chunked-prefill-size", "64"});
  ASSERT_TRUE(server.wait_until_ready());
  const auto generate = [&](const std::string& ids, const std::string& more) {
    return json_of(
        server.ask("/generate", R"({"input_ids":[)" + ids + R"(],"return_logprob":true,)" +
                                    R"("sampling_params":{"temperature":0,)" +
                                    R"("ignore_eos":true,"max_new_tokens":12})" + more + "}"));
  };
  // Prompt and answer lie across the chunks in which a prompt is read.
  std::string prompt = "1";
  for (int i = 1; i < 120; ++i) prompt += "," + std::to_string(i * 7 % 500);
  const Json drawn = generate(prompt, "");
  ASSERT_NE(drawn.find("output_ids"), nullptr) << to_json(drawn);
  const std::string answer = to_json(*drawn.find("output_ids"));
  const Json read =
      generate(prompt + "," + answer.substr(1, answer.size() - 2), R"(,"logprob_start_len":120)");
  EXPECT_EQ(drawn.find("output_ids")->as_array()->size(), 12U);
  EXPECT_EQ(to_json(*read.find("meta_info")->find("input_token_logprobs")),
            to_json(*drawn.find("meta_info")->find("output_token_logprobs")));
}

TEST(TokenIds, AreServedWithoutATokenizer) {
  const std::string model = FATHOM_TEST_DATA "/micro-bf16";
  ServerProcess server(FATHOM_PROGRAM,
                       {"--model-path", model, "--skip-tokenizer-init", "--context-length", "512"});
  ASSERT_TRUE(server.wait_until_ready());
  const Json json = json_of(server.ask(
      "/generate", R"({"input_ids":[1,2,3,4,5,6],"return_logprob":true,"logprob_start_len":2,)"
                   R"("sampling_params":{"temperature":0,"max_new_tokens":5,"ignore_eos":true}})"));
  ASSERT_NE(json.find("output_ids"), nullptr) << to_json(json);
  EXPECT_EQ(json.find("output_ids")->as_array()->size(), 5U);
  EXPECT_EQ(json.find("text"), nullptr);
  const Json& meta = *json.find("meta_info");
  EXPECT_EQ(meta.find("input_token_logprobs")->as_array()->size(), 4U);
  EXPECT_EQ(meta.find("output_token_logprobs")->as_array()->size(), 5U);
  EXPECT_EQ(server.ask("/generate", R"({"text":"a"})").status, 400);
  EXPECT_EQ(
      server.ask("/v1/chat/completions", R"({"messages":[{"role":"user","content":"a"}]})").status,
      400);
  const http::Response wide = server.ask("/generate", R"({"input_ids":[512]})");
  EXPECT_EQ(wide.status, 400);
  server.signal(SIGTERM);
  EXPECT_EQ(server.wait_exit(), 0);
}

}  // namespace
}  // namespace fathom::system_test
