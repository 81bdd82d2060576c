#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/service_testing.h"
#include "base/json.h"

namespace fathom::api {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using wire::Finish;

constexpr const char* kPath = "/v1/messages";
constexpr const char* kCountPath = "/v1/messages/count_tokens";

const std::string kTool =
    R"({"name":"f","description":"d","input_schema":{"type":"object","properties":{"c":{"type":"string"}}}})";

// What the model writes to call f with c = "Oslo", twice one after the other.
constexpr const char* kCalls =
    "\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"f\">\n"
    "<｜DSML｜parameter name=\"c\" string=\"true\">Oslo</｜DSML｜parameter>\n"
    "</｜DSML｜invoke>\n<｜DSML｜invoke name=\"f\">\n</｜DSML｜invoke>\n</｜DSML｜function_calls>";

ServiceOptions parsing_options() {
  ServiceOptions options = ServiceRig::default_options();
  options.context_tokens = 1 << 16;
  options.max_prompt_tokens = 1 << 16;
  options.reasoning = text::ReasoningFormat::kDeepSeekV3;
  options.tool_calls = text::ToolCallFormat::kDeepSeekV32;
  return options;
}

std::string body_of(const std::string& messages, const std::string& more = "") {
  return R"({"rid":"r","model":"m","max_tokens":100,"messages":[)" + messages + "]" + more + "}";
}

std::string hello(const std::string& more = "") {
  return body_of(R"({"role":"user","content":"hello"})", more);
}

// The prompt that a body becomes, as text.
std::string prompt_of(const std::string& body) {
  ServiceRig rig(parsing_options());
  const auto exchange = rig.post(kPath, body);
  if (exchange->complete()) return exchange->response().body;
  const auto requests = rig.engine.wait_requests(1);
  rig.publish(ServiceRig::last(ServiceRig::piece(requests[0], ""), Finish::kStop));
  exchange->wait();
  return rig.tokenizer->decode(requests[0].prompt, false);
}

// The message of the 400 that a body is answered with.
std::string refusal_of(const std::string& body, const char* path = kPath) {
  ServiceRig rig(parsing_options());
  const http::Response& response = rig.ask("POST", path, body);
  EXPECT_EQ(response.status, 400) << response.body;
  const Result<Json> json = parse_json(response.body);
  EXPECT_TRUE(json.ok()) << response.body;
  EXPECT_EQ(*json->find("type")->as_string(), "error");
  EXPECT_EQ(*json->find("error")->find("type")->as_string(), "invalid_request_error");
  return *json->find("error")->find("message")->as_string();
}

// The body of the answer that says `text`.
std::string answer_of(const std::string& body, const std::string& text, Finish finish) {
  ServiceRig rig(parsing_options());
  const auto exchange = rig.post(kPath, body);
  const auto request = rig.engine.wait_requests(1)[0];
  rig.publish(ServiceRig::last(ServiceRig::piece(request, text), finish));
  return exchange->wait().body;
}

TEST(Messages, AnswersInOneObject) {
  ServiceRig rig;
  const auto exchange = rig.post(kPath, hello(R"(,"system":"s","temperature":0.5,"top_k":3)"));
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];
  EXPECT_EQ(request.sampling.max_new_tokens, 100);
  EXPECT_EQ(request.sampling.temperature, 0.5F);
  EXPECT_EQ(request.sampling.top_k, 3);

  rig.publish(ServiceRig::last(ServiceRig::piece(request, "yo"), Finish::kStop));

  EXPECT_EQ(exchange->wait().body,
            R"({"id":"r","type":"message","role":"assistant","model":"m",)"
            R"("content":[{"type":"text","text":"yo"}],)"
            R"("stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":)" +
                std::to_string(request.prompt.size()) +
                R"(,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,)"
                R"("output_tokens":3}})");
}

TEST(Messages, StreamsBlocksOneAfterTheOther) {
  ServiceRig rig(parsing_options());
  const auto exchange = rig.post(
      kPath,
      hello(R"(,"stream":true,"thinking":{"type":"enabled","budget_tokens":1024},"tools":[)" +
            kTool + "]"));
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];
  rig.publish(ServiceRig::piece(request, "hm"));
  rig.publish(ServiceRig::piece(request, "m</think>yo", 2));
  rig.publish(ServiceRig::last(ServiceRig::piece(request, kCalls, 13), Finish::kStop));

  const http::Response& response = exchange->wait();
  EXPECT_EQ(*response.headers.find("Content-Type"), "text/event-stream; charset=utf-8");
  const auto expected = std::to_array<std::pair<std::string, std::string>>({
      {"message_start", R"("content":[],"stop_reason":null,"stop_sequence":null,"usage":)"},
      {"content_block_start",
       R"("index":0,"content_block":{"type":"thinking","thinking":"","signature":""}})"},
      {"content_block_delta", R"("index":0,"delta":{"type":"thinking_delta","thinking":"hm"}})"},
      {"content_block_delta", R"("index":0,"delta":{"type":"thinking_delta","thinking":"m"}})"},
      {"content_block_delta", R"("index":0,"delta":{"type":"signature_delta","signature":""}})"},
      {"content_block_stop", R"("index":0})"},
      {"content_block_start", R"("index":1,"content_block":{"type":"text","text":""}})"},
      {"content_block_delta", R"("index":1,"delta":{"type":"text_delta","text":"yo"}})"},
      {"content_block_stop", R"("index":1})"},
      {"content_block_start", R"("index":2,"content_block":{"type":"tool_use","id":"toolu_)"},
      {"content_block_delta", R"("index":2,"delta":{"type":"input_json_delta","partial_json":")"},
      {"content_block_stop", R"("index":2})"},
      {"content_block_start", R"("index":3,"content_block":{"type":"tool_use","id":"toolu_)"},
      {"content_block_delta",
       R"("index":3,"delta":{"type":"input_json_delta","partial_json":"{}")"},
      {"content_block_stop", R"("index":3})"},
      {"message_delta", R"("delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":)"},
      {"message_stop", R"({"type":"message_stop"})"},
  });
  std::string_view rest = response.body;
  for (const auto& [name, data] : expected) {
    const std::size_t end = rest.find("\n\n");
    ASSERT_NE(end, std::string_view::npos) << name;
    const std::string event(rest.substr(0, end));
    EXPECT_THAT(event, StartsWith("event: " + name + "\n"));
    EXPECT_THAT(event, HasSubstr("\ndata: {\"type\":\"" + name + "\""));
    EXPECT_THAT(event, HasSubstr(data));
    rest.remove_prefix(end + 2);
  }
  EXPECT_EQ(rest, "");
}

TEST(Messages, TellsThoughtsTextAndCallsOfAWholeAnswer) {
  const std::string body =
      answer_of(hello(R"(,"thinking":{"type":"adaptive"},"tools":[)" + kTool + "]"),
                std::string("hm</think>yo") + kCalls, Finish::kStop);
  const Result<Json> json = parse_json(body);
  ASSERT_TRUE(json.ok()) << body;
  const Json::Array& content = *json->find("content")->as_array();
  ASSERT_EQ(content.size(), 4U) << body;
  EXPECT_EQ(to_json(content[0]), R"({"type":"thinking","thinking":"hm","signature":""})");
  EXPECT_EQ(to_json(content[1]), R"({"type":"text","text":"yo"})");
  EXPECT_EQ(*content[2].find("name")->as_string(), "f");
  const Result<Json> input = parse_json(R"({"c":"Oslo"})");
  EXPECT_EQ(*content[2].find("input"), *input);
  EXPECT_EQ(to_json(*content[3].find("input")), "{}");
  EXPECT_NE(*content[2].find("id")->as_string(), *content[3].find("id")->as_string());
  EXPECT_EQ(*json->find("stop_reason")->as_string(), "tool_use");
}

TEST(Messages, SaysWhyTheAnswerEnds) {
  EXPECT_THAT(answer_of(hello(), "yo", Finish::kLength),
              HasSubstr(R"("stop_reason":"max_tokens","stop_sequence":null)"));
  const std::string stopped =
      answer_of(hello(R"(,"stop_sequences":["lo","END"])"), "helENDxx", Finish::kLength);
  EXPECT_THAT(stopped, HasSubstr(R"({"type":"text","text":"hel"})"));
  EXPECT_THAT(stopped, HasSubstr(R"("stop_reason":"stop_sequence","stop_sequence":"END")"));
  EXPECT_THAT(answer_of(hello(), "", Finish::kStop), HasSubstr(R"("content":[],)"));
}

TEST(Messages, ACallThatIsCutHasAnEmptyInput) {
  const std::string call(kCalls);
  const std::string body = answer_of(hello(R"(,"tools":[)" + kTool + "]"),
                                     call.substr(0, call.find("lo</")), Finish::kLength);
  EXPECT_THAT(body, HasSubstr(R"("name":"f","input":{}}],"stop_reason":"max_tokens")"));
}

TEST(Messages, OneCallEndsTheAnswerWithoutParallelCalls) {
  const std::string body = answer_of(
      hello(R"(,"tool_choice":{"type":"auto","disable_parallel_tool_use":true},"tools":[)" + kTool +
            "]"),
      kCalls, Finish::kStop);
  const Result<Json> json = parse_json(body);
  EXPECT_EQ(json->find("content")->as_array()->size(), 1U) << body;
}

TEST(Messages, ReadsAConversationAsChatDoes) {
  const std::string calls =
      R"({"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"x"},)"
      R"({"type":"redacted_thinking","data":"z"},{"type":"text","text":"so "},)"
      R"({"type":"text","text":"on"},)"
      R"({"type":"tool_use","id":"a","name":"f","input":{"c":"1"}},)"
      R"({"type":"tool_use","id":"b","name":"f","input":{}}]})";
  // The results in the other order, and behind a text.
  const std::string results =
      R"({"role":"user","content":[{"type":"text","text":"now?"},)"
      R"({"type":"tool_result","tool_use_id":"b","content":[{"type":"text","text":"rb"}]},)"
      R"({"type":"tool_result","tool_use_id":"a","content":"ra","is_error":true}]})";
  const std::string prompt = prompt_of(
      body_of(R"({"role":"user","content":"q"},)" + calls + "," + results,
              R"(,"system":[{"type":"text","text":"s1","cache_control":{"type":"ephemeral"}},)"
              R"({"type":"text","text":"s2"}],"tools":[)" +
                  kTool + "]"));

  const std::string call_form = R"({"type":"function","function":{"name":"f","arguments":)";
  const std::string chat =
      R"({"messages":[{"role":"system","content":[{"type":"text","text":"s1"},)"
      R"({"type":"text","text":"s2"}]},{"role":"user","content":"q"},)"
      R"({"role":"assistant","content":"so on","reasoning_content":"t","tool_calls":[)" +
      call_form + R"({"c":"1"}}},)" + call_form +
      R"({}}}]},{"role":"tool","content":"ra"},{"role":"tool","content":"rb"},)"
      R"({"role":"user","content":"now?"}],"tools":[{"type":"function","function":)"
      R"({"name":"f","description":"d","parameters":{"type":"object","properties":)"
      R"({"c":{"type":"string"}}}}}]})";
  ServiceRig rig(parsing_options());
  rig.post("/v1/chat/completions", chat);
  EXPECT_EQ(prompt, rig.tokenizer->decode(rig.engine.wait_requests(1)[0].prompt, false));
}

TEST(Messages, AnAnswerThatIsBegunIsContinued) {
  const std::string begun = R"({"role":"user","content":"q"},{"role":"assistant","content":"{"})";
  EXPECT_TRUE(prompt_of(body_of(begun)).ends_with("</think>{"));
  EXPECT_THAT(refusal_of(body_of(begun, R"(,"thinking":{"type":"enabled"})")),
              HasSubstr("thinking: "));
}

TEST(Messages, ToolChoiceConstrains) {
  const auto constraint = [](const std::string& choice) {
    ServiceRig rig(parsing_options());
    rig.post(kPath, hello(R"(,"tool_choice":)" + choice + R"(,"tools":[)" + kTool + "]"));
    return rig.engine.wait_requests(1)[0].constraint.kind;
  };
  EXPECT_EQ(constraint(R"({"type":"auto"})"), wire::ConstraintKind::kNone);
  EXPECT_EQ(constraint(R"({"type":"none"})"), wire::ConstraintKind::kNone);
  EXPECT_NE(constraint(R"({"type":"any"})"), wire::ConstraintKind::kNone);
  EXPECT_NE(constraint(R"({"type":"tool","name":"f"})"), wire::ConstraintKind::kNone);
}

TEST(Messages, AFormatConstrains) {
  const std::string format = R"({"type":"json_schema","schema":{"type":"object"}})";
  for (const std::string& more : {R"(,"output_config":{"effort":"low","format":)" + format + "}",
                                  ",\"output_format\":" + format}) {
    ServiceRig rig;
    rig.post(kPath, hello(more));
    EXPECT_EQ(rig.engine.wait_requests(1)[0].constraint.text, R"({"type":"object"})");
  }
  EXPECT_THAT(refusal_of(hello(R"(,"output_config":{"format":{"type":"xml"}})")),
              HasSubstr("output_config.format.type: "));
}

TEST(Messages, RefusesByName) {
  const std::string assistant = R"({"role":"user","content":"q"},{"role":"assistant","content":[)"
                                R"({"type":"tool_use","id":"a","name":"f","input":{}}]})";
  const auto cases = std::to_array<std::pair<std::string, std::string>>({
      {R"({"messages":[{"role":"user","content":"q"}]})", "max_tokens: is missing"},
      {R"({"max_tokens":1})", "messages: is missing"},
      {body_of(""), "messages: is empty"},
      {body_of("3"), "messages[0]: expected an object"},
      {body_of(R"({"role":"system","content":"q"})"), "messages[0]: role: was \"system\""},
      {body_of(R"({"role":"user"})"), "messages[0]: content: is missing"},
      {body_of(R"({"role":"user","content":[]})"), "messages[0]: content: is empty"},
      {body_of(R"({"role":"user","content":[3]})"), "messages[0]: content[0]: expected an object"},
      {body_of(R"({"role":"user","content":[{"type":"image","source":{}}]})"),
       "messages[0]: content[0]: type: was \"image\", expected text or tool_result: this model "
       "reads text alone"},
      {body_of(R"({"role":"user","content":[{"type":"tool_result","tool_use_id":"a"}]})"),
       "tool_use_id: was \"a\""},
      {body_of(assistant), "tool_use \"a\" has no tool_result"},
      {body_of(assistant + R"(,{"role":"user","content":"no"})"),
       "messages[2]: tool_use \"a\" has no tool_result"},
      {hello(R"(,"temperature":-1)"), "temperature: was -1"},
      {hello(R"(,"stop_sequences":[""])"), "stop_sequences: was \"\""},
      {hello(R"(,"thinking":{"type":"maybe"})"), "thinking.type: was \"maybe\""},
      {hello(R"(,"tools":[{"type":"web_search_20250305","name":"web_search"}])"),
       "tools[0]: type: was \"web_search_20250305\""},
      {hello(R"(,"tools":[{"name":"f"}])"), "tools[0]: input_schema: is missing"},
      {hello(R"(,"tools":[{"name":"f","input_schema":{"type":7}}])"), "tools[0]: input_schema: "},
      {hello(R"(,"tool_choice":{"type":"tool","name":"g"})"), "tool_choice.name: was \"g\""},
      {hello(R"(,"mcp_servers":[{}])"), "mcp_servers"},
  });
  for (const auto& [body, message] : cases) {
    EXPECT_THAT(refusal_of(body), HasSubstr(message)) << body;
  }
  EXPECT_THAT(refusal_of(body_of(""), kCountPath), HasSubstr("messages: is empty"));
}

TEST(Messages, CountsTheTokensOfThePrompt) {
  ServiceRig rig(parsing_options());
  const std::string body = hello(R"(,"system":"s","tools":[)" + kTool + "]");
  const http::Response& counted = rig.ask("POST", kCountPath, body);
  EXPECT_EQ(counted.status, 200);
  rig.post(kPath, body);
  EXPECT_EQ(counted.body, R"({"input_tokens":)" +
                              std::to_string(rig.engine.wait_requests(1)[0].prompt.size()) + "}");
}

TEST(Messages, UsageTellsWhatTheCacheHad) {
  ServiceOptions options = ServiceRig::default_options();
  options.cache_report = true;
  ServiceRig rig(std::move(options));
  const auto exchange = rig.post(kPath, hello());
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];
  wire::TokenOutput output = ServiceRig::last(ServiceRig::piece(request, "a"), Finish::kStop);
  output.cached_tokens = 5;
  rig.publish(std::move(output));
  EXPECT_THAT(exchange->wait().body,
              HasSubstr(R"("usage":{"input_tokens":)" + std::to_string(request.prompt.size() - 5) +
                        R"(,"cache_creation_input_tokens":0,"cache_read_input_tokens":5,)"));
}

TEST(Messages, FailuresHaveAnthropicsForm) {
  {
    ServiceRig rig;
    rig.engine.refuse(Status(Code::kUnavailable, "full"));
    const http::Response& response = rig.ask("POST", kPath, hello());
    EXPECT_EQ(response.status, 503);
    EXPECT_EQ(response.body,
              R"({"type":"error","error":{"type":"overloaded_error","message":"full"}})");
    EXPECT_NE(response.headers.find("Retry-After"), nullptr);
  }
  ServiceOptions options = ServiceRig::default_options();
  options.keys.api_key = "k";
  ServiceRig locked(std::move(options));
  EXPECT_EQ(locked.ask("POST", kPath, hello()).body,
            R"({"type":"error","error":{"type":"authentication_error","message":"Unauthorized"}})");
  ServiceRig rig;
  EXPECT_EQ(rig.ask("GET", kPath).body,
            R"({"type":"error","error":{"type":"invalid_request_error",)"
            R"("message":"Method Not Allowed"}})");
}

TEST(Messages, AFailureEndsAStreamWithAnEvent) {
  ServiceRig rig;
  const auto exchange = rig.post(kPath, hello(R"(,"stream":true)"));
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];
  rig.publish(ServiceRig::piece(request, "a"));
  wire::TokenOutput output = ServiceRig::last(ServiceRig::piece(request, "", 1), Finish::kAbort);
  output.error = Status(Code::kInternal, "broken");
  rig.publish(std::move(output));
  EXPECT_TRUE(exchange->wait().body.ends_with(
      "event: error\ndata: "
      R"({"type":"error","error":{"type":"api_error","message":"broken"}})"
      "\n\n"))
      << exchange->response().body;
}

}  // namespace
}  // namespace fathom::api
