#include <cmath>

#include <gtest/gtest.h>

#include "api/service_testing.h"

namespace fathom::api {
namespace {

using wire::Finish;

constexpr const char* kPath = "/v1/completions";

TEST(Completions, AnswerInOneObject) {
  ServiceRig rig;
  auto exchange = rig.post(kPath, R"({"prompt":"hi","rid":"r","model":"m"})");
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];
  EXPECT_EQ(request.sampling.max_new_tokens, 16);

  rig.publish(ServiceRig::last(ServiceRig::piece(request, "yo"), Finish::kStop));

  EXPECT_EQ(without_times(exchange->wait().body),
            R"({"id":"r","object":"text_completion","created":0,"model":"m","choices":[)"
            R"({"index":0,"text":"yo","logprobs":null,"finish_reason":"stop","matched_stop":256}],)"
            R"("usage":{"prompt_tokens":2,"total_tokens":5,"completion_tokens":3,)"
            R"("prompt_tokens_details":null,"reasoning_tokens":0},)"
            R"("metadata":{"weight_version":"default"}})");
}

TEST(Completions, StreamTextAndTellUsageAtTheEnd) {
  ServiceRig rig;
  auto exchange = rig.post(
      kPath, R"({"prompt":"hi","rid":"r","stream":true,"stream_options":{"include_usage":true}})");
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];

  rig.publish(ServiceRig::piece(request, "\xC3"));  // half a character
  EXPECT_EQ(exchange->writes(), 0);
  rig.publish(ServiceRig::piece(request, "\xA9", 1));
  rig.publish(ServiceRig::last(ServiceRig::piece(request, "!", 2), Finish::kLength));

  const std::string head =
      R"({"id":"r","object":"text_completion","created":0,"model":"default","choices":[)";
  const std::vector<std::string> events = events_of(without_times(exchange->wait().body));
  ASSERT_EQ(events.size(), 4U);
  EXPECT_EQ(events[0], head + R"({"index":0,"text":"é","logprobs":null,"finish_reason":null,)"
                              R"("matched_stop":null}],"usage":null})");
  EXPECT_EQ(events[1], head + R"({"index":0,"text":"!","logprobs":null,"finish_reason":"length",)"
                              R"("matched_stop":null}],"usage":null})");
  EXPECT_EQ(events[2], head + R"(],"usage":{"prompt_tokens":2,"total_tokens":5,)"
                              R"("completion_tokens":3,"reasoning_tokens":0}})");
  EXPECT_EQ(events[3], "[DONE]");
}

TEST(Completions, PromptsTimesSamplesAreCountedPromptsFirst) {
  ServiceRig rig;
  auto exchange = rig.post(kPath, R"({"prompt":["a","bcd"],"n":2,"rid":"r","seed":5})");
  const auto requests = rig.engine.wait_requests(4);
  EXPECT_EQ(requests[1].prompt.size(), 1U);
  EXPECT_EQ(requests[2].prompt.size(), 3U);
  EXPECT_EQ(requests[3].sampling.sample, 1U);
  EXPECT_EQ(requests[3].sampling.seed, 5U);

  for (std::size_t i = 4; i-- > 0;) {
    const std::string text(1, static_cast<char>('0' + i));
    rig.publish(ServiceRig::last(ServiceRig::piece(requests[i], text), Finish::kLength));
  }

  const std::string body = without_times(exchange->wait().body);
  EXPECT_NE(body.find(R"({"index":3,"text":"3",)"), std::string::npos) << body;
  EXPECT_NE(body.find(R"("usage":{"prompt_tokens":4,"total_tokens":8,"completion_tokens":4,)"),
            std::string::npos)
      << body;
}

TEST(Completions, TakeTokenIdsInBothForms) {
  ServiceRig rig;
  rig.post(kPath, R"({"prompt":[1,2,3]})");
  rig.engine.wait_requests(1);
  rig.post(kPath, R"({"prompt":[[4],[5,6]]})");

  const auto requests = rig.engine.wait_requests(3);
  EXPECT_EQ(requests[0].prompt, (std::vector<wire::TokenId>{1, 2, 3}));
  EXPECT_EQ(requests[1].prompt, (std::vector<wire::TokenId>{4}));
  EXPECT_EQ(requests[2].prompt, (std::vector<wire::TokenId>{5, 6}));
}

TEST(Completions, LogprobsAreFourParallelLists) {
  ServiceRig rig;
  auto exchange = rig.post(kPath, R"({"prompt":"hi","rid":"r","logprobs":2})");
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];
  EXPECT_EQ(request.logprobs.top, 2);
  EXPECT_EQ(request.logprobs.prompt_start, 2);
  wire::TokenOutput output = ServiceRig::last(ServiceRig::piece(request, "AB"), Finish::kLength);
  output.logprobs = {{'A', -0.5F, {{'A', -0.5F}, {200, -1}, {201, -2}}, {}}, {'B', -1, {}, {}}};
  rig.publish(output);

  const std::string body = exchange->wait().body;
  EXPECT_NE(body.find("\"logprobs\":{\"text_offset\":[0,1],\"token_logprobs\":[-0.5,-1],"
                      "\"tokens\":[\"A\",\"B\"],"
                      "\"top_logprobs\":[{\"A\":-0.5,\"\uFFFD\":-1},{}]}"),
            std::string::npos)
      << body;
}

TEST(Completions, EveryEventTellsUsageWhenAsked) {
  ServiceRig rig;
  auto exchange = rig.post(
      kPath, R"({"prompt":"hi","stream":true,"stream_options":{"continuous_usage_stats":true}})");
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];
  rig.publish(ServiceRig::last(ServiceRig::piece(request, "a"), Finish::kLength));

  const std::string event = events_of(exchange->wait().body)[0];
  EXPECT_TRUE(
      event.ends_with(R"("usage":{"prompt_tokens":2,"total_tokens":3,"completion_tokens":1,)"
                      R"("prompt_tokens_details":null,"reasoning_tokens":0}})"))
      << event;
}

TEST(Completions, CachedTokensAreToldWhenTheServerReportsThem) {
  ServiceOptions options = ServiceRig::default_options();
  options.cache_report = true;
  ServiceRig rig(options);
  auto exchange = rig.post(kPath, R"({"prompt":"hi"})");
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];
  wire::TokenOutput output = ServiceRig::last(ServiceRig::piece(request, "a"), Finish::kLength);
  output.cached_tokens = 1;
  rig.publish(output);

  EXPECT_NE(exchange->wait().body.find(R"("prompt_tokens_details":{"cached_tokens":1},)"),
            std::string::npos);
}

TEST(Completions, EchoThePromptWithItsLogprobs) {
  ServiceRig rig;
  const auto exchange =
      rig.post(kPath, R"({"prompt":["hi",[72,256,105]],"echo":true,"logprobs":1,"n":1})");
  const auto requests = rig.engine.wait_requests(2);
  EXPECT_EQ(requests[0].logprobs.prompt_start, 0);
  wire::TokenOutput output = ServiceRig::last(ServiceRig::piece(requests[0], "!"), Finish::kLength);
  output.prompt_logprobs = {{'h', std::nanf(""), {}, {}}, {'i', -0.5F, {{'o', -0.25F}}, {}}};
  output.logprobs = {{'!', -1, {{'!', -1}}, {}}};
  rig.publish(output);
  rig.publish(ServiceRig::last(ServiceRig::piece(requests[1], "?"), Finish::kLength));

  const std::string body = exchange->wait().body;
  EXPECT_NE(body.find(R"("text":"hi!","logprobs":{"text_offset":[0,1,2],)"
                      R"("token_logprobs":[null,-0.5,-1],"tokens":["h","i","!"],)"
                      R"("top_logprobs":[null,{"o":-0.25},{"!":-1}]})"),
            std::string::npos)
      << body;
  EXPECT_NE(body.find(R"("text":"Hi?",)"), std::string::npos) << body;
}

TEST(Completions, AStreamEchoesOnce) {
  ServiceRig rig;
  const auto exchange =
      rig.post(kPath, R"({"prompt":"hi","echo":true,"stream":true,"best_of":3,"suffix":""})");
  const auto request = rig.engine.wait_requests(1)[0];
  rig.publish(ServiceRig::piece(request, "a"));
  rig.publish(ServiceRig::last(ServiceRig::piece(request, "b", 1), Finish::kLength));

  const std::vector<std::string> events = events_of(exchange->wait().body);
  ASSERT_EQ(events.size(), 3U);
  EXPECT_NE(events[0].find(R"("text":"hia")"), std::string::npos) << events[0];
  EXPECT_NE(events[1].find(R"("text":"b")"), std::string::npos) << events[1];
}

TEST(Completions, ErrorsInAStreamAreEvents) {
  ServiceRig rig;
  auto exchange = rig.post(kPath, R"({"prompt":"hi","stream":true})");
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];
  rig.publish(ServiceRig::piece(request, "a"));
  wire::TokenOutput output = ServiceRig::last(ServiceRig::piece(request, "", 1), Finish::kAbort);
  output.error = Status(Code::kUnavailable, "gone");
  rig.publish(output);

  const std::vector<std::string> events = events_of(exchange->wait().body);
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(
      events[1],
      R"({"error":{"object":"error","message":"gone","type":"503","param":null,"code":503}})");
}

TEST(Completions, RefuseWhatCannotBe) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {R"({})", "prompt: is missing"},
      {R"({"prompt":""})", "prompt: is empty"},
      {R"({"prompt":[]})", "prompt: is empty"},
      {R"({"prompt":7})",
       "prompt: expected a string, or an array of strings or token ids, was a "
       "number"},
      {R"({"prompt":["a",true]})", "prompt[1]: expected an array of token ids, was a boolean"},
      {R"({"prompt":"a","max_tokens":0})",
       "max_tokens: was 0, expected a whole number from 1 to 2147483647"},
      {R"({"prompt":"a","echo":1})", "echo: expected true or false, was a number"},
      {R"({"prompt":"a","suffix":"b"})",
       "suffix: this model has no form of prompts with a text behind the gap; send none"},
      {R"({"prompt":"a","logprobs":129})",
       "logprobs: was 129, expected a whole number from 0 to 128"},
      {R"({"prompt":"a","n":2000})", "n: was 2000, expected a whole number from 1 to 1024"},
      {R"({"prompt":["a","b"],"n":1000})",
       "prompts times n is at least 2000, expected at most 1024"},
      {R"({"prompt":"a","stream_options":5})", "stream_options: expected an object, was a number"},
      {R"({"prompt":"a","seed":1e40})", "seed: was 1e40, expected a whole number of 64 bits"},
  };
  ServiceRig rig;
  for (const auto& [body, message] : cases) {
    const http::Response response = rig.ask("POST", kPath, body);
    EXPECT_EQ(response.status, 400) << body;
    EXPECT_TRUE(response.body.starts_with(R"({"object":"error","message":")" + message + "\","))
        << body << response.body;
  }
  EXPECT_TRUE(rig.engine.requests().empty());
}

TEST(Completions, PromptsOfOneCallAreBoundedTogether) {
  ServiceOptions options = ServiceRig::default_options();
  options.max_call_tokens = 10;
  ServiceRig rig(options);

  EXPECT_EQ(rig.ask("POST", kPath, R"({"prompt":"abcdef","n":2})").status, 400);
}

}  // namespace
}  // namespace fathom::api
