// What outputs of the engine become: stops, thoughts and calls, in chat and elsewhere. However the
// outputs are cut, a stream says what a whole answer says.
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/service_testing.h"
#include "base/json.h"

namespace fathom::api {
namespace {

using wire::Finish;

constexpr const char* kChat = "/v1/chat/completions";
constexpr wire::TokenId kThink = 257;
constexpr wire::TokenId kEndThink = 258;

constexpr const char* kTools =
    R"(,"tools":[{"type":"function","function":{"name":"look","parameters":{"type":"object",)"
    R"("properties":{"q":{"type":"string"},"n":{"type":"int"}}}}},)"
    R"({"type":"function","function":{"name":"now"}}])";

constexpr const char* kLookCall =
    "\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"look\">\n"
    "<｜DSML｜parameter name=\"q\" string=\"true\">hi \"there\"</｜DSML｜parameter>\n"
    "<｜DSML｜parameter name=\"n\" string=\"false\">10</｜DSML｜parameter>\n"
    "</｜DSML｜invoke>\n<｜DSML｜invoke "
    "name=\"now\">\n</｜DSML｜invoke>\n</｜DSML｜function_calls>";

ServiceOptions deepseek() {
  ServiceOptions options = ServiceRig::default_options();
  options.reasoning = text::ReasoningFormat::kDeepSeekV3;
  options.tool_calls = text::ToolCallFormat::kDeepSeekV32;
  options.context_tokens = 20000;  // tools make long prompts
  options.max_request_tokens = 19999;
  options.max_prompt_tokens = 19990;
  return options;
}

std::string hello(const std::string& more = "") {
  return R"({"messages":[{"role":"user","content":"hello"}])" + more + "}";
}

// The bytes of `text` as tokens, with <think> and </think> as the tokens that they are.
std::vector<wire::TokenId> tokens_of(std::string_view text) {
  std::vector<wire::TokenId> tokens;
  while (!text.empty()) {
    wire::TokenId token = static_cast<unsigned char>(text[0]);
    std::size_t size = 1;
    for (const auto& [word, id] :
         {std::pair<std::string_view, wire::TokenId>{"<think>", kThink}, {"</think>", kEndThink}}) {
      if (!text.starts_with(word)) continue;
      token = id;
      size = word.size();
    }
    tokens.push_back(token);
    text.remove_prefix(size);
  }
  return tokens;
}

// What a choice says, from whatever kind of answer.
struct Said {
  std::string reasoning = {};
  std::string content = {};
  std::vector<std::pair<std::string, std::string>> calls = {};  // name, arguments
  std::vector<std::string> ids = {};
  std::vector<std::string> logprobs = {};  // tokens
  std::string finish = {};
  std::string matched = {};  // as JSON
  std::int64_t completion_tokens = 0;
  std::int64_t reasoning_tokens = 0;
};

void add_logprobs(const Json& choice, Said& said) {
  const Json* logprobs = choice.find_set("logprobs");
  if (logprobs == nullptr) return;
  for (const Json& entry : *logprobs->find("content")->as_array()) {
    said.logprobs.push_back(*entry.find("token")->as_string());
  }
}

void add_text(const Json& holder, const char* name, std::string& out) {
  if (const Json* text = holder.find_set(name)) out += *text->as_string();
}

void add_calls(const Json& holder, Said& said) {
  const Json* calls = holder.find_set("tool_calls");
  if (calls == nullptr) return;
  for (const Json& call : *calls->as_array()) {
    const auto index = static_cast<std::size_t>(*call.find("index")->as_int64());
    EXPECT_EQ(*call.find("type")->as_string(), "function");
    const Json& function = *call.find("function");
    if (const Json* id = call.find_set("id")) {
      ASSERT_EQ(index, said.calls.size()) << "indices are ordinals";
      said.ids.push_back(*id->as_string());
      said.calls.push_back({*function.find("name")->as_string(), ""});
    }
    ASSERT_LT(index, said.calls.size());
    said.calls[index].second += *function.find("arguments")->as_string();
  }
}

void add_end(const Json& choice, Said& said) {
  const Json* finish = choice.find_set("finish_reason");
  if (finish == nullptr) return;
  EXPECT_EQ(said.finish, "");
  said.finish = *finish->as_string();
  said.matched = to_json(*choice.find("matched_stop"));
}

void add_usage(const Json& json, Said& said) {
  const Json& usage = *json.find("usage");
  said.completion_tokens = *usage.find("completion_tokens")->as_int64();
  said.reasoning_tokens = *usage.find("reasoning_tokens")->as_int64();
  const Json* details = usage.find("completion_tokens_details");
  EXPECT_EQ(details != nullptr, said.reasoning_tokens > 0);
}

Said whole(const std::string& body) {
  Said said;
  const Json json = parse_json(body).value();
  const Json& choice = json.find("choices")->as_array()->front();
  const Json& message = *choice.find("message");
  add_text(message, "reasoning_content", said.reasoning);
  EXPECT_TRUE(message.find("content")->is_string());
  add_text(message, "content", said.content);
  add_calls(message, said);
  add_logprobs(choice, said);
  add_end(choice, said);
  add_usage(json, said);
  return said;
}

Said joined(const std::string& body) {
  Said said;
  std::vector<std::string> events = events_of(body);
  EXPECT_EQ(events.back(), "[DONE]");
  events.pop_back();
  for (const std::string& event : events) {
    const Json json = parse_json(event).value();
    if (json.find("choices")->as_array()->empty()) {
      add_usage(json, said);
      continue;
    }
    const Json& choice = json.find("choices")->as_array()->front();
    const Json& delta = *choice.find("delta");
    EXPECT_EQ(said.finish, "") << "the end comes last";
    add_text(delta, "reasoning_content", said.reasoning);
    add_text(delta, "content", said.content);
    add_calls(delta, said);
    add_logprobs(choice, said);
    add_end(choice, said);
  }
  return said;
}

// Publishes the answer's tokens, cut after each of `cuts`; `finish` is the engine's. Stops when the
// answer is over.
void play(ServiceRig& rig,
          FakeExchange& exchange,
          const wire::GenerateRequest& request,
          std::string_view text,
          const std::vector<std::size_t>& cuts,
          Finish finish) {
  std::vector<wire::TokenId> tokens = tokens_of(text);
  if (finish == Finish::kStop) tokens.push_back(kEos);
  std::size_t begin = 0;
  std::vector<std::size_t> ends;
  if (request.stream) ends = cuts;
  ends.push_back(tokens.size());
  for (const std::size_t end : ends) {
    if (end < begin || end > tokens.size()) continue;
    wire::TokenOutput output;
    output.id = request.id;
    output.tokens.assign(tokens.begin() + static_cast<std::ptrdiff_t>(begin),
                         tokens.begin() + static_cast<std::ptrdiff_t>(end));
    if (request.logprobs.wanted) {
      for (const wire::TokenId id : output.tokens) output.logprobs.push_back({id, -1, {}, {}});
    }
    output.prompt_tokens = static_cast<std::int32_t>(request.prompt.size());
    output.generated_tokens = static_cast<std::int32_t>(end);
    if (end == tokens.size()) {
      output.finish = finish;
      if (finish == Finish::kStop) output.stop_token = kEos;
    }
    begin = end;
    rig.publish(output);
    if (exchange.complete() && output.finish == Finish::kNone) {
      // The engine is asked to end, and says so.
      EXPECT_EQ(rig.engine.wait_aborts(1).back(), request.id);
      wire::TokenOutput late;
      late.id = request.id;
      late.finish = Finish::kAbort;
      late.error = Status(Code::kCancelled, "asked to end");
      late.generated_tokens = static_cast<std::int32_t>(end) + 1;
      rig.publish(late);
      return;
    }
    if (end == tokens.size()) return;
  }
}

struct Script {
  const char* name;
  std::string request;
  std::string text;
  Finish finish = Finish::kStop;
  Said expected = {};
};

std::vector<Script> scripts() {
  const std::string thinking = R"(,"chat_template_kwargs":{"thinking":true})";
  const std::string arguments = R"({"q": "hi \"there\"", "n": 10})";
  return {
      {"content", "", "yo", Finish::kStop, {.content = "yo", .finish = "stop", .matched = "256"}},
      {"thoughts",
       thinking,
       "hm…</think>yo",
       Finish::kLength,
       {.reasoning = "hm…", .content = "yo", .finish = "length", .matched = "null"}},
      {"unfinished thoughts",
       thinking,
       "hm",
       Finish::kLength,
       {.reasoning = "hm", .finish = "length", .matched = "null"}},
      {"thoughts at their end",
       thinking + R"(,"stream_reasoning":false)",
       "hm</think>yo",
       Finish::kStop,
       {.reasoning = "hm", .content = "yo", .finish = "stop", .matched = "256"}},
      {"thoughts in content",
       thinking + R"(,"separate_reasoning":false)",
       "hm</think>yo",
       Finish::kStop,
       {.content = "hm</think>yo", .finish = "stop", .matched = "256"}},
      {"calls",
       kTools,
       std::string("Sure.") + kLookCall,
       Finish::kStop,
       {.content = "Sure.",
        .calls = {{"look", arguments}, {"now", "{}"}},
        .finish = "tool_calls",
        .matched = "null"}},
      {"thoughts and calls",
       thinking + kTools,
       std::string("a</think>") + kLookCall,
       Finish::kStop,
       {.reasoning = "a",
        .calls = {{"look", arguments}, {"now", "{}"}},
        .finish = "tool_calls",
        .matched = "null"}},
      {"one call",
       std::string(R"(,"parallel_tool_calls":false)") + kTools,
       kLookCall,
       Finish::kStop,
       {.calls = {{"look", arguments}}, .finish = "tool_calls", .matched = "null"}},
      {"calls are not looked for",
       std::string(R"(,"tool_choice":"none")") + kTools,
       kLookCall,
       Finish::kStop,
       {.content = kLookCall, .finish = "stop", .matched = "256"}},
      {"a stop",
       R"(,"stop":["!!","ab"])",
       "1a2!3ab4",
       Finish::kLength,
       {.content = "1a2!3", .finish = "stop", .matched = R"("ab")"}},
      {"a kept stop",
       R"(,"stop":"ab","no_stop_trim":true)",
       "1ab4",
       Finish::kLength,
       {.content = "1ab", .finish = "stop", .matched = R"("ab")"}},
      {"a stop in thoughts",
       thinking + R"(,"stop":"x")",
       "1x</think>yo",
       Finish::kLength,
       {.reasoning = "1", .finish = "stop", .matched = R"("x")"}},
      {"no stop",
       R"(,"stop":"yoyo")",
       "yoy",
       Finish::kStop,
       {.content = "yoy", .finish = "stop", .matched = "256"}},
      {"a pattern",
       R"(,"stop_regex":"b[0-9]c")",
       "ab7cd",
       Finish::kLength,
       {.content = "a", .finish = "stop", .matched = R"("b[0-9]c")"}},
  };
}

void expect_equal(const Said& a, const Said& b, const std::string& where) {
  EXPECT_EQ(a.reasoning, b.reasoning) << where;
  EXPECT_EQ(a.content, b.content) << where;
  EXPECT_EQ(a.calls, b.calls) << where;
  EXPECT_EQ(a.finish, b.finish) << where;
  EXPECT_EQ(a.matched, b.matched) << where;
}

TEST(Answer, AStreamSaysWhatAWholeAnswerSaysHoweverItIsCut) {
  std::mt19937 random(20261);  // NOLINT(cert-msc51-cpp)
  const std::string more = R"(,"logprobs":true,"rid":"r")";
  for (const Script& script : scripts()) {
    Said first;
    {
      ServiceRig rig(deepseek());
      const auto exchange = rig.post(kChat, hello(script.request + more));
      play(rig, *exchange, rig.engine.wait_requests(1)[0], script.text, {}, script.finish);
      first = whole(exchange->wait().body);
      expect_equal(first, script.expected, script.name);
      EXPECT_EQ(static_cast<std::int64_t>(first.logprobs.size()), first.completion_tokens)
          << script.name;
    }
    const std::size_t count = tokens_of(script.text).size();
    for (int round = 0; round < 24; ++round) {
      std::vector<std::size_t> cuts;
      for (std::size_t i = 1; i < count; ++i) {
        if (round == 0 || random() % static_cast<unsigned>(round + 1) == 0) cuts.push_back(i);
      }
      ServiceRig rig(deepseek());
      const auto exchange =
          rig.post(kChat, hello(script.request + more +
                                R"(,"stream":true,"stream_options":{"include_usage":true})"));
      play(rig, *exchange, rig.engine.wait_requests(1)[0], script.text, cuts, script.finish);
      const Said said = joined(exchange->wait().body);
      const std::string where = script.name + std::string(" in round ") + std::to_string(round);
      expect_equal(said, script.expected, where);
      EXPECT_EQ(said.logprobs, first.logprobs) << where;
      EXPECT_EQ(said.completion_tokens, first.completion_tokens) << where;
      EXPECT_EQ(said.reasoning_tokens, first.reasoning_tokens) << where;
      rig.wait_idle();
    }
  }
}

TEST(Answer, CallIdsAreNewAndOfOneForm) {
  ServiceRig rig(deepseek());
  const auto exchange = rig.post(kChat, hello(kTools));
  const auto request = rig.engine.wait_requests(1)[0];
  play(rig, *exchange, request, kLookCall, {}, Finish::kStop);

  const Said said = whole(exchange->wait().body);
  ASSERT_EQ(said.ids.size(), 2U);
  EXPECT_NE(said.ids[0], said.ids[1]);
  EXPECT_THAT(said.ids[0], testing::MatchesRegex("call_[0-9a-f]{24}"));
}

TEST(Answer, CallsStreamAsOpenAiClientsExpectThem) {
  ServiceRig rig(deepseek());
  const auto exchange = rig.post(kChat, hello(std::string(R"(,"rid":"r","stream":true)") + kTools));
  const auto request = rig.engine.wait_requests(1)[0];
  play(rig, *exchange, request,
       "<｜DSML｜function_calls><｜DSML｜invoke name=\"now\"></｜DSML｜invoke>"
       "</｜DSML｜function_calls>",
       {}, Finish::kStop);

  std::vector<std::string> events = events_of(without_times(exchange->wait().body));
  ASSERT_EQ(events.size(), 5U);
  const std::string head =
      R"({"id":"r","object":"chat.completion.chunk","created":0,"model":"default","choices":[)"
      R"({"index":0,"delta":{"role":null,"content":null,"reasoning_content":null)";
  const std::string open =
      R"(}]},"logprobs":null,"finish_reason":null,"matched_stop":null}],"usage":null})";
  const std::size_t id = events[1].find("call_");
  ASSERT_NE(id, std::string::npos);
  ASSERT_EQ(events[1].find_first_not_of("0123456789abcdef", id + 5), id + 29);
  events[1].replace(id, 29, "ID");
  EXPECT_EQ(events[1], head +
                           R"(,"tool_calls":[{"index":0,"id":"ID","type":"function","function":)"
                           R"({"name":"now","arguments":""})" +
                           open);
  EXPECT_EQ(events[2], head +
                           R"(,"tool_calls":[{"index":0,"id":null,"type":"function","function":)"
                           R"({"name":null,"arguments":"{}"})" +
                           open);
  EXPECT_EQ(events[3], head + R"(},"logprobs":null,"finish_reason":"tool_calls",)"
                              R"("matched_stop":null}],"usage":null})");
}

TEST(Answer, ReasoningTokensAreCountedToTheEndOfThoughts) {
  ServiceRig rig(deepseek());
  const auto exchange = rig.post(kChat, hello(R"(,"chat_template_kwargs":{"thinking":true})"));
  const auto request = rig.engine.wait_requests(1)[0];
  play(rig, *exchange, request, "abc</think>de", {}, Finish::kStop);

  const std::string body = exchange->wait().body;
  EXPECT_NE(
      body.find(R"("completion_tokens":7,"prompt_tokens_details":null,)"
                R"("completion_tokens_details":{"reasoning_tokens":4},"reasoning_tokens":4})"),
      std::string::npos)
      << body;
}

TEST(Answer, AContinuedAnswerBeginsWhereItsTextEnds) {
  struct Case {
    const char* begun;
    bool thinking;
    Said expected;
  };
  const std::vector<Case> cases{
      {"so", false, {.content = "a</think>b"}},
      {"so", true, {.reasoning = "a", .content = "b"}},
      {"<think>so", false, {.reasoning = "a", .content = "b"}},
      {"<think>so</think>x", true, {.content = "a</think>b"}},
      {"so</think>x", true, {.content = "a</think>b"}},
  };
  for (const Case& c : cases) {
    ServiceRig rig(deepseek());
    const auto exchange = rig.post(
        kChat, std::string(R"({"continue_final_message":true,"messages":[{"role":"user",)") +
                   R"("content":"a"},{"role":"ASSISTANT","content":")" + c.begun +
                   R"("}],"chat_template_kwargs":{"thinking":)" + (c.thinking ? "true" : "false") +
                   "}}");
    const auto request = rig.engine.wait_requests(1)[0];
    play(rig, *exchange, request, "a</think>b", {}, Finish::kStop);
    const Said said = whole(exchange->wait().body);
    EXPECT_EQ(said.reasoning, c.expected.reasoning) << c.begun;
    EXPECT_EQ(said.content, c.expected.content) << c.begun;
  }
}

TEST(Answer, AConstraintSleepsUntilThoughtsAreOver) {
  struct Case {
    std::string more;
    text::ReasoningFormat format;
    wire::TokenId begins_after;
  };
  const std::string thinking = R"(,"chat_template_kwargs":{"thinking":true})";
  for (const Case& c : {Case{"", text::ReasoningFormat::kDeepSeekV3, -1},
                        Case{thinking, text::ReasoningFormat::kDeepSeekV3, kEndThink},
                        Case{thinking, text::ReasoningFormat::kNone, -1},
                        Case{"", text::ReasoningFormat::kDeepSeekR1, kEndThink}}) {
    ServiceOptions options = deepseek();
    options.reasoning = c.format;
    ServiceRig rig(options);
    rig.post(kChat, hello(c.more + R"(,"response_format":{"type":"json_object"})"));
    EXPECT_EQ(rig.engine.wait_requests(1)[0].constraint.begins_after, c.begins_after) << c.more;
  }
}

TEST(Answer, AnEndByTextFreesTheRidBeforeTheEngineEnds) {
  ServiceRig rig;
  const std::string body = R"({"text":"a","rid":"r","sampling_params":{"stop":"x","n":2}})";
  const auto exchange = rig.post("/generate", body);
  const auto requests = rig.engine.wait_requests(2);
  rig.publish(ServiceRig::piece(requests[0], "1x2"));
  EXPECT_FALSE(exchange->complete());
  EXPECT_EQ(rig.engine.aborts(), std::vector<wire::RequestId>{requests[0].id});
  rig.publish(ServiceRig::piece(requests[1], "yx"));

  const Json answers = parse_json(exchange->wait().body).value();
  const Json& first = answers.as_array()->front();
  EXPECT_EQ(*first.find("text")->as_string(), "1");
  EXPECT_EQ(to_json(*first.find("output_ids")), "[49,120]");
  EXPECT_EQ(to_json(*first.find("meta_info")->find("finish_reason")),
            R"({"type":"stop","matched":"x"})");
  EXPECT_EQ(*first.find("meta_info")->find("completion_tokens")->as_int64(), 2);

  rig.post("/generate", body);
  EXPECT_EQ(rig.engine.wait_requests(4).size(), 4U) << "the rid is free";
  EXPECT_GT(rig.service->unfinished(), 1U) << "the engine has not ended it";
  for (const auto& request : rig.engine.requests()) {
    rig.publish(ServiceRig::last(ServiceRig::piece(request, ""), Finish::kAbort));
  }
  rig.wait_idle();
}

}  // namespace
}  // namespace fathom::api
