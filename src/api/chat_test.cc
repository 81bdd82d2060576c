#include <gtest/gtest.h>

#include "api/service_testing.h"
#include "base/json.h"

namespace fathom::api {
namespace {

using wire::Finish;

constexpr const char* kPath = "/v1/chat/completions";
constexpr wire::TokenId kThink = 257;
constexpr wire::TokenId kEndThink = 258;

// A request for one user message with more members, each beginning with a comma.
std::string hello(const std::string& more = "") {
  return R"({"messages":[{"role":"user","content":"hello"}])" + more + "}";
}

TEST(Chat, AnswersInOneObject) {
  ServiceRig rig;
  auto exchange = rig.post(kPath, hello(R"(,"rid":"r","model":"m","user":"u")"));
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];
  EXPECT_GE(request.sampling.max_new_tokens, 999);
  EXPECT_EQ(request.prompt.back(), kEndThink);

  rig.publish(ServiceRig::last(ServiceRig::piece(request, "yo"), Finish::kStop));

  const auto prompt = static_cast<int>(request.prompt.size());
  EXPECT_EQ(without_times(exchange->wait().body),
            R"({"id":"r","object":"chat.completion","created":0,"model":"m","choices":[{"index":0,)"
            R"("message":{"role":"assistant","content":"yo","reasoning_content":null},)"
            R"("logprobs":null,"finish_reason":"stop","matched_stop":256}],)"
            R"("usage":{"prompt_tokens":)" +
                std::to_string(prompt) + R"(,"total_tokens":)" + std::to_string(prompt + 3) +
                R"(,"completion_tokens":3,"prompt_tokens_details":null,"reasoning_tokens":0},)"
                R"("metadata":{"weight_version":"default"}})");
}

TEST(Chat, ContentIsEmptyWhenThereIsNoneAndLengthHasNoStop) {
  ServiceRig rig;
  auto exchange = rig.post(kPath, hello());
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];

  rig.publish(ServiceRig::last(ServiceRig::piece(request, ""), Finish::kLength));

  const std::string body = exchange->wait().body;
  EXPECT_NE(body.find(R"("content":"",)"), std::string::npos) << body;
  EXPECT_NE(body.find(R"("finish_reason":"length","matched_stop":null)"), std::string::npos);
}

TEST(Chat, StreamsRoleTextEndAndUsage) {
  ServiceRig rig;
  auto exchange = rig.post(
      kPath, hello(R"(,"rid":"r\"","stream":true,"stream_options":{"include_usage":true})"));
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];

  rig.publish(ServiceRig::piece(request, "a\n"));
  rig.publish(ServiceRig::piece(request, "\xE2\x82", 2));
  rig.publish(ServiceRig::last(ServiceRig::piece(request, "\xAC", 4), Finish::kStop));

  const std::string head =
      R"({"id":"r\"","object":"chat.completion.chunk","created":0,"model":"default","choices":[)";
  const std::string more = R"(,"reasoning_content":null},"logprobs":null,)";
  const std::string open = R"("finish_reason":null,"matched_stop":null}],"usage":null})";
  const std::vector<std::string> events = events_of(without_times(exchange->wait().body));
  ASSERT_EQ(events.size(), 6U);
  EXPECT_EQ(events[0],
            head + R"({"index":0,"delta":{"role":"assistant","content":"")" + more + open);
  EXPECT_EQ(events[1], head + R"({"index":0,"delta":{"role":null,"content":"a\n")" + more + open);
  EXPECT_EQ(events[2], head + R"({"index":0,"delta":{"role":null,"content":"€")" + more + open);
  EXPECT_EQ(events[3], head + R"({"index":0,"delta":{"role":null,"content":null)" + more +
                           R"("finish_reason":"stop","matched_stop":256}],"usage":null})");
  const auto prompt = static_cast<int>(request.prompt.size());
  EXPECT_EQ(events[4], head + R"(],"usage":{"prompt_tokens":)" + std::to_string(prompt) +
                           R"(,"total_tokens":)" + std::to_string(prompt + 6) +
                           R"(,"completion_tokens":6,"prompt_tokens_details":null,)"
                           R"("reasoning_tokens":0}})");
  EXPECT_EQ(events[5], "[DONE]");
  EXPECT_EQ(exchange->writes(), 2) << "half a character is nothing to write";
}

TEST(Chat, StreamsEachSampleUnderItsIndex) {
  ServiceRig rig;
  auto exchange = rig.post(kPath, hello(R"(,"stream":true,"n":2)"));
  const auto requests = rig.engine.wait_requests(2);

  rig.publish(ServiceRig::piece(requests[1], "b"));
  rig.publish(ServiceRig::last(ServiceRig::piece(requests[0], "a"), Finish::kLength));
  rig.publish(ServiceRig::last(ServiceRig::piece(requests[1], "", 1), Finish::kLength));

  std::string order;
  const auto events = events_of(exchange->wait().body);
  for (const std::string& event : events) {
    const std::size_t at = event.find("\"index\":");
    if (at != std::string::npos) order += event[at + 8];
  }
  EXPECT_EQ(order, "110001");
}

TEST(Chat, LogprobsCarryTheTokensOwnBytes) {
  ServiceRig rig;
  auto exchange = rig.post(kPath, hello(R"(,"logprobs":true,"top_logprobs":1)"));
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];
  EXPECT_EQ(request.logprobs.top, 1);
  wire::TokenOutput output = ServiceRig::last(ServiceRig::piece(request, "\xC3"), Finish::kStop);
  output.logprobs = {{0xC3, -0.5F, {{'x', -0.25F}}, {}}, {kEos, -1, {}, {}}};
  rig.publish(output);

  const std::string body = exchange->wait().body;
  EXPECT_NE(body.find("\"logprobs\":{\"content\":[{\"token\":\"\uFFFD\",\"bytes\":[195],"
                      "\"logprob\":-0.5,\"top_logprobs\":[{\"token\":\"x\",\"bytes\":[120],"
                      "\"logprob\":-0.25}]},{\"token\":\"<eos>\",\"bytes\":[60,101,111,115,62],"
                      "\"logprob\":-1,\"top_logprobs\":[]}]}"),
            std::string::npos)
      << body;
}

TEST(Chat, LogprobsOfTokensWithoutTextStreamToo) {
  ServiceRig rig;
  auto exchange = rig.post(kPath, hello(R"(,"stream":true,"logprobs":true)"));
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];
  wire::TokenOutput output = ServiceRig::last(ServiceRig::piece(request, ""), Finish::kStop);
  output.logprobs = {{kEos, -1, {}, {}}};
  rig.publish(output);

  const auto events = events_of(exchange->wait().body);
  ASSERT_EQ(events.size(), 4U);
  EXPECT_NE(events[1].find(R"("content":"","reasoning_content":null},)"
                           R"("logprobs":{"content":[{"token":"<eos>",)"),
            std::string::npos)
      << events[1];
}

TEST(Chat, AnAbortIsAnOrdinaryEnd) {
  ServiceRig rig;
  auto exchange = rig.post(kPath, hello(R"(,"stream":true)"));
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];
  wire::TokenOutput output = ServiceRig::last(ServiceRig::piece(request, ""), Finish::kAbort);
  output.error = Status(Code::kCancelled, "asked to end");
  rig.publish(output);

  const auto events = events_of(exchange->wait().body);
  ASSERT_EQ(events.size(), 3U) << "also of a request that was still waiting";
  EXPECT_NE(events[1].find(R"("finish_reason":"abort","matched_stop":null)"), std::string::npos);
  EXPECT_EQ(events[2], "[DONE]");
}

TEST(Chat, TakesSamplingDefaultsOfTheModel) {
  ServiceOptions options = ServiceRig::default_options();
  options.sampling_defaults = {0.5, 0.25, 40, 0.125, 1, "generation_config.json"};
  ServiceRig rig(options);
  rig.post(kPath, hello());
  rig.engine.wait_requests(1);
  rig.post(kPath, hello(R"(,"temperature":0.75,"top_p":1,"top_k":-1,"min_p":null)"));

  const auto requests = rig.engine.wait_requests(2);
  EXPECT_EQ(requests[0].sampling.temperature, 0.5F);
  EXPECT_EQ(requests[0].sampling.top_p, 0.25F);
  EXPECT_EQ(requests[0].sampling.top_k, 40);
  EXPECT_EQ(requests[0].sampling.min_p, 0.125F);
  EXPECT_EQ(requests[1].sampling.temperature, 0.75F);
  EXPECT_EQ(requests[1].sampling.top_p, 1.0F);
  EXPECT_EQ(requests[1].sampling.top_k, 0);
  EXPECT_EQ(requests[1].sampling.min_p, 0.125F);
}

TEST(Chat, APenaltyOfTheModelIsTakenUnlessTheRequestHasOne) {
  ServiceOptions options = ServiceRig::default_options();
  options.sampling_defaults.repetition_penalty = 1.125;
  ServiceRig rig(options);
  rig.post(kPath, hello());
  rig.engine.wait_requests(1);
  rig.post(kPath, hello(R"(,"repetition_penalty":1.5)"));

  const auto requests = rig.engine.wait_requests(2);
  EXPECT_EQ(requests[0].sampling.repetition_penalty, 1.125F);
  EXPECT_EQ(requests[1].sampling.repetition_penalty, 1.5F);
}

TEST(Chat, ThinkingIsDecidedByTheMostExplicitField) {
  const std::vector<std::pair<std::string, bool>> cases{
      {R"()", false},
      {R"(,"chat_template_kwargs":{"thinking":true})", true},
      {R"(,"chat_template_kwargs":{"thinking":"yes"})", true},
      {R"(,"chat_template_kwargs":{"thinking":0})", false},
      {R"(,"chat_template_kwargs":{"enable_thinking":true})", true},
      {R"(,"chat_template_kwargs":{"thinking":false,"enable_thinking":true})", false},
      {R"(,"reasoning_effort":"low")", true},
      {R"(,"reasoning_effort":0.5)", true},
      {R"(,"reasoning_effort":"none")", false},
      {R"(,"reasoning_effort":"high","chat_template_kwargs":{"thinking":false})", false},
      {R"(,"reasoning":{"enabled":true})", true},
      {R"(,"reasoning":{"effort":"high"})", true},
      {R"(,"reasoning":{"enabled":false},"reasoning_effort":"high")", false},
  };
  ServiceRig rig;
  std::size_t sent = 0;
  for (const auto& [more, thinking] : cases) {
    rig.post(kPath, hello(more));
    const auto prompt = rig.engine.wait_requests(++sent).back().prompt;
    EXPECT_EQ(prompt.back(), thinking ? kThink : kEndThink) << more;
  }
}

TEST(Chat, AnInstanceMayThinkByDefault) {
  ServiceOptions options = ServiceRig::default_options();
  options.default_thinking = true;
  ServiceRig rig(options);
  rig.post(kPath, hello());

  EXPECT_EQ(rig.engine.wait_requests(1)[0].prompt.back(), kThink);
}

TEST(Chat, MaxCompletionTokensComesBeforeMaxTokens) {
  const std::vector<std::pair<std::string, std::int32_t>> cases{
      {R"(,"max_tokens":7)", 7},
      {R"(,"max_tokens":7,"max_completion_tokens":5)", 5},
      {R"(,"max_tokens":7,"max_completion_tokens":0)", 7},
      {R"(,"max_tokens":0)", std::numeric_limits<std::int32_t>::max()},
  };
  ServiceRig rig;
  std::size_t sent = 0;
  for (const auto& [more, tokens] : cases) {
    rig.post(kPath, hello(more));
    EXPECT_EQ(rig.engine.wait_requests(++sent).back().sampling.max_new_tokens, tokens) << more;
  }
}

// The text of the prompt that `body` becomes.
std::string prompt_of(ServiceRig& rig, const std::string& body) {
  const http::Response response = rig.ask("POST", "/tokenize", body);
  EXPECT_EQ(response.status, 200) << response.body;
  std::string detokenize = "{\"skip_special_tokens\":false,\"tokens\":";
  const std::size_t begin = response.body.find('[');
  detokenize += response.body.substr(begin, response.body.find(']') + 1 - begin) + "}";
  const http::Response text = rig.ask("POST", "/detokenize", detokenize);
  return *parse_json(text.body).value().find("text")->as_string();
}

TEST(Chat, ATemplateRendersInPlaceOfTheModelsOwnEncoding) {
  ServiceOptions options = ServiceRig::default_options();
  const std::string source =
      "{{ raise_exception('too many') if messages | length > 2 }}{{ 'T' if thinking }}"
      "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<answer>";
  options.chat_template = text::ChatTemplate::from_files({.chat_template = source}).value();
  ServiceRig rig(options);
  const std::string user = R"({"role":"user","content":"a"})";
  const std::string assistant = R"({"role":"assistant","content":"b"})";

  EXPECT_EQ(
      prompt_of(rig, R"({"chat_template_kwargs":{"thinking":true},"messages":[)" + user + "]}"),
      "T<user>a<answer>");
  EXPECT_EQ(prompt_of(rig, R"({"continue_final_message":true,"messages":[)" + user + "," +
                               assistant + "]}"),
            "<user>a<answer>b");
  const http::Response refused =
      rig.ask("POST", kPath, R"({"messages":[)" + user + "," + assistant + "," + user + "]}");
  EXPECT_EQ(refused.status, 400);
  EXPECT_NE(refused.body.find("the chat template: line 1: too many"), std::string::npos)
      << refused.body;
}

TEST(Chat, RendersMessagesAsTheModelReadsThem) {
  ServiceRig rig;
  const std::string user = R"({"role":"user","content":"a"})";
  EXPECT_EQ(prompt_of(rig, R"({"messages":[)" + user + "]}"),
            "<｜begin▁of▁sentence｜><｜User｜>a<｜Assistant｜></think>");
  EXPECT_EQ(
      prompt_of(rig, R"({"messages":[)" + user + R"(,{"role":"assistant","content":"b"}]})"),
      "<｜begin▁of▁sentence｜><｜User｜>a<｜Assistant｜></think><｜User｜>b<｜Assistant｜></think>")
      << "a last message of the assistant is read as a user's";
  EXPECT_EQ(prompt_of(rig, R"({"continue_final_message":true,"messages":[)" + user +
                               R"(,{"role":"assistant","content":"b"}]})"),
            "<｜begin▁of▁sentence｜><｜User｜>a<｜Assistant｜></think>b");
  const std::string tools = prompt_of(
      rig, R"({"tools":[{"type":"function","function":{"name":"f"}}],"messages":[)" + user + "]}");
  EXPECT_TRUE(tools.starts_with("<｜begin▁of▁sentence｜>\n\n## Tools\n\nYou have access")) << tools;
  EXPECT_TRUE(tools.ends_with("\n</functions>\n<｜User｜>a<｜Assistant｜></think>")) << tools;
}

// Each body is answered 400 with its message, and the engine hears of none.
void expect_refusals(const std::vector<std::pair<std::string, std::string>>& cases) {
  ServiceRig rig;
  for (const auto& [body, message] : cases) {
    const http::Response response = rig.ask("POST", kPath, body);
    EXPECT_EQ(response.status, 400) << body;
    EXPECT_TRUE(response.body.starts_with(R"({"object":"error","message":")" + message + "\","))
        << body << response.body;
  }
  EXPECT_TRUE(rig.engine.requests().empty());
}

TEST(Chat, RefusesMessagesByTheirIndex) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {R"({})", "messages: is missing"},
      {R"({"messages":"hi"})", "messages: expected an array, was a string"},
      {R"({"messages":[]})", "messages: is empty, expected at least one"},
      {R"({"messages":[{"role":"user","content":"a"},{"role":"me","content":"a"}]})",
       R"(messages[1]: role: expected system, developer, user, assistant or tool, was \"me\")"},
      {R"({"messages":[{"role":"user","content":"a"},{"role":"tool","content":"a"}],)"
       R"("tools":[{"type":"function","function":{"name":"f"}}]})",
       "messages[1]: a tool's message must come behind an assistant's with tool_calls"},
      {R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":7}],)"
       R"("continue_final_message":true})",
       "messages[1]: content: expected a string or an array of text parts, was a number"},
      {R"({"messages":[{"role":"user","content":"a"}],"tools":[5]})",
       R"(tools[0]: expected {\"type\": \"function\", \"function\": {…}}, was a number)"},
      {R"({"messages":[{"role":"user","content":"a"}],"tools":5})",
       "tools: expected an array, was a number"},
  };
  expect_refusals(cases);
}

TEST(Chat, RefusesWhatCannotBe) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {hello(R"(,"tool_choice":"required")"),
       "tool_choice: asks for a call, and there are no tools"},
      {hello(R"(,"tool_choice":{"type":"function","function":{"name":"f"}})"),
       "tool_choice: asks for a call, and there are no tools"},
      {hello(R"(,"tool_choice":{"type":"function"})"),
       R"(tool_choice: expected {\"type\": \"function\", \"function\": {\"name\": …}})"},
      {hello(R"(,"tool_choice":7)"), "tool_choice: expected a string or an object, was a number"},
      {hello(R"(,"tool_choice":"often")"),
       R"(tool_choice: was \"often\", expected auto, none, required or a function)"},
      {hello(R"(,"reasoning_effort":"huge")"),
       R"(reasoning_effort: was \"huge\", expected none, minimal, low, medium, high, xhigh, max )"
       R"(or a number from 0 to 0.99)"},
      {hello(R"(,"reasoning":{"effort":1})"),
       R"(reasoning.effort: was 1, expected none, minimal, low, medium, high, xhigh, max )"
       R"(or a number from 0 to 0.99)"},
      {hello(R"(,"max_tokens":-1)"),
       "max_tokens: was -1, expected a whole number from 0 to 2147483647"},
      {hello(R"(,"top_logprobs":-1)"),
       "top_logprobs: was -1, expected a whole number from 0 to 128"},
      {hello(R"(,"rid":5)"), "rid: expected a string, was a number"},
      {hello(R"(,"chat_template_kwargs":true)"),
       "chat_template_kwargs: expected an object, was a boolean"},
  };
  expect_refusals(cases);
}

}  // namespace
}  // namespace fathom::api
