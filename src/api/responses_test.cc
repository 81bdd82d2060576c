#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/service_testing.h"
#include "base/json.h"
#include "text/tokenizer.h"

namespace fathom::api {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using wire::Finish;

constexpr const char* kPath = "/v1/responses";
constexpr wire::TokenId kEndThink = 258;

const std::string kTool = R"({"type":"function","name":"sum","parameters":{"type":"object"}})";

// A request with this input and more members, each beginning with a comma.
std::string asking(const std::string& input, const std::string& more = "") {
  return R"({"input":)" + input + more + "}";
}

ServiceOptions parsing() {
  ServiceOptions options = ServiceRig::default_options();
  options.reasoning = text::ReasoningFormat::kDeepSeekV3;
  options.tool_calls = text::ToolCallFormat::kDeepSeekV32;
  options.context_tokens = 20000;  // tools make long prompts
  options.max_prompt_tokens = 19000;
  return options;
}

Json json(const std::string& text) {
  Result<Json> parsed = parse_json(text);
  EXPECT_TRUE(parsed.ok()) << text;
  return parsed.ok() ? *parsed : Json();
}

// The value at a path of keys and indices: "output.0.content.0.text"; null when there is none.
Json at(const Json& value, const std::string& path) {
  if (path.empty()) return value;
  const std::size_t dot = path.find('.');
  const std::string key = path.substr(0, dot);
  const std::string rest = dot == std::string::npos ? "" : path.substr(dot + 1);
  if (const Json::Array* const elements = value.as_array()) {
    const std::size_t index = std::stoul(key);
    return index < elements->size() ? at((*elements)[index], rest) : Json();
  }
  const Json* const member = value.find(key);
  return member == nullptr ? Json() : at(*member, rest);
}

std::string text_at(const Json& value, const std::string& path) {
  const Json found = at(value, path);
  return found.is_string() ? *found.as_string() : to_json(found);
}

std::string prompt_of(const ServiceRig& rig, const wire::GenerateRequest& request) {
  return rig.tokenizer->decode(request.prompt);
}

// The prompt that chat makes of `messages`.
std::string chat_prompt(const std::string& messages, const std::string& more = "") {
  ServiceRig rig(parsing());
  const auto exchange = rig.post("/v1/chat/completions", R"({"messages":)" + messages + more + "}");
  return prompt_of(rig, rig.engine.wait_requests(1)[0]);
}

// … and what is made of a list of items.
std::string items_prompt(const std::string& items, const std::string& more = "") {
  ServiceRig rig(parsing());
  const auto exchange = rig.post(kPath, asking(items, more));
  return prompt_of(rig, rig.engine.wait_requests(1)[0]);
}

// The message of the refusal that the body gets, which has the API's envelope.
std::string refusal_of(const std::string& body) {
  ServiceRig rig(parsing());
  const http::Response response = rig.ask("POST", kPath, body);
  EXPECT_EQ(response.status, 400);
  const Json told = json(response.body);
  EXPECT_EQ(text_at(told, "error.type"), "invalid_request_error");
  EXPECT_EQ(text_at(told, "error.param"), "null");
  EXPECT_EQ(text_at(told, "error.code"), "400");
  return text_at(told, "error.message");
}

// The answer's whole text in one output.
Json answer(ServiceRig& rig, const std::string& body, const std::string& text, Finish finish) {
  const auto exchange = rig.post(kPath, body);
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];
  rig.publish(ServiceRig::last(ServiceRig::piece(request, text), finish));
  return json(exchange->wait().body);
}

const std::string kCall =
    "\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"sum\">\n<｜DSML｜parameter name=\"a\" "
    "string=\"false\">1</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>";

TEST(Responses, AnswersWithOneObject) {
  ServiceRig rig;
  const Json told = answer(
      rig, asking(R"("hello")", R"(,"rid":"r","model":"m","metadata":{"k":"v"},"temperature":0.5)"),
      "yo", Finish::kStop);

  EXPECT_EQ(text_at(told, "id"), "r");
  EXPECT_EQ(text_at(told, "object"), "response");
  EXPECT_EQ(text_at(told, "status"), "completed");
  EXPECT_EQ(text_at(told, "error"), "null");
  EXPECT_EQ(text_at(told, "incomplete_details"), "null");
  EXPECT_EQ(text_at(told, "model"), "m");
  EXPECT_EQ(text_at(told, "metadata.k"), "v");
  EXPECT_EQ(text_at(told, "temperature"), "0.5");
  EXPECT_EQ(text_at(told, "tool_choice"), "auto");
  EXPECT_EQ(text_at(told, "tools"), "[]");
  EXPECT_EQ(text_at(told, "text.format.type"), "text");
  EXPECT_EQ(text_at(told, "store"), "false");
  EXPECT_EQ(at(told, "output").as_array()->size(), 1U);
  EXPECT_THAT(text_at(told, "output.0.id"), HasSubstr("msg_"));
  EXPECT_EQ(text_at(told, "output.0.type"), "message");
  EXPECT_EQ(text_at(told, "output.0.role"), "assistant");
  EXPECT_EQ(text_at(told, "output.0.status"), "completed");
  EXPECT_EQ(to_json(at(told, "output.0.content.0")),
            R"({"type":"output_text","text":"yo","annotations":[],"logprobs":[]})");
  const auto prompt = rig.engine.requests()[0].prompt.size();
  EXPECT_EQ(to_json(at(told, "usage")),
            R"({"input_tokens":)" + std::to_string(prompt) +
                R"(,"input_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},)"
                R"("output_tokens":3,"output_tokens_details":{"reasoning_tokens":0},)"
                R"("total_tokens":)" +
                std::to_string(prompt + 3) + "}");
}

TEST(Responses, IdsAreTheirOwnWithoutARid) {
  ServiceRig rig;
  const Json told = answer(rig, asking(R"("hello")"), "yo", Finish::kStop);
  EXPECT_THAT(text_at(told, "id"), testing::MatchesRegex("resp_[0-9a-f]{32}"));
}

TEST(Responses, ThoughtsTextAndCallsAreItems) {
  ServiceRig rig(parsing());
  const auto exchange = rig.post(
      kPath, asking(R"("hello")", R"(,"reasoning":{"effort":"low"},"tools":[)" + kTool + "]"));
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];
  wire::TokenOutput output = ServiceRig::piece(request, "hm" + std::string("_") + "ok" + kCall);
  output.tokens[2] = kEndThink;
  rig.publish(ServiceRig::last(std::move(output), Finish::kStop));

  const Json told = json(exchange->wait().body);
  ASSERT_EQ(at(told, "output").as_array()->size(), 3U) << to_json(told);
  EXPECT_THAT(text_at(told, "output.0.id"), HasSubstr("rs_"));
  EXPECT_EQ(text_at(told, "output.0.type"), "reasoning");
  EXPECT_EQ(text_at(told, "output.0.summary"), "[]");
  EXPECT_EQ(to_json(at(told, "output.0.content")), R"([{"type":"reasoning_text","text":"hm"}])");
  EXPECT_EQ(text_at(told, "output.1.content.0.text"), "ok");
  EXPECT_EQ(text_at(told, "output.2.type"), "function_call");
  EXPECT_EQ(text_at(told, "output.2.status"), "completed");
  EXPECT_EQ(text_at(told, "output.2.name"), "sum");
  EXPECT_EQ(text_at(told, "output.2.arguments"), R"({"a": 1})");
  EXPECT_THAT(text_at(told, "output.2.call_id"), HasSubstr("call_"));
  EXPECT_EQ(text_at(told, "usage.output_tokens_details.reasoning_tokens"), "3");
  EXPECT_EQ(text_at(told, "reasoning.effort"), "low");
}

TEST(Responses, AnAnswerThatWasCutIsIncomplete) {
  ServiceRig rig;
  const Json told =
      answer(rig, asking(R"("hello")", R"(,"max_output_tokens":2)"), "yo", Finish::kLength);
  EXPECT_EQ(rig.engine.requests()[0].sampling.max_new_tokens, 2);
  EXPECT_EQ(text_at(told, "status"), "incomplete");
  EXPECT_EQ(text_at(told, "incomplete_details.reason"), "max_output_tokens");
  EXPECT_EQ(text_at(told, "output.0.status"), "incomplete");
  EXPECT_EQ(text_at(told, "completed_at"), "null");
}

TEST(Responses, AnAbortedAnswerIsCancelled) {
  ServiceRig rig;
  const auto exchange = rig.post(kPath, asking(R"("hello")"));
  wire::TokenOutput output =
      ServiceRig::last(ServiceRig::piece(rig.engine.wait_requests(1)[0], "y"), Finish::kAbort);
  output.error = Status(Code::kCancelled, "asked to end");
  rig.publish(output);
  EXPECT_EQ(text_at(json(exchange->wait().body), "status"), "cancelled");
}

// The data of a stream's events, each behind an `event:` line with its type.
std::vector<std::string> data_of(const std::string& body) {
  std::vector<std::string> out;
  std::size_t begin = 0;
  while (begin < body.size()) {
    const std::size_t data = body.find("\ndata: ", begin);
    const std::size_t end = body.find("\n\n", begin);
    if (data == std::string::npos || end == std::string::npos || end < data) {
      ADD_FAILURE() << "not an event: " << body.substr(begin);
      return out;
    }
    out.push_back(body.substr(data + 7, end - data - 7));
    begin = end + 2;
  }
  return out;
}

// The types of a stream's events, each of which must be that of its `event:` line, and the numbers
// be in order.
std::vector<std::string> types_of(const std::string& body) {
  std::vector<std::string> types;
  for (const std::string& data : data_of(body)) {
    const Json event = json(data);
    EXPECT_EQ(text_at(event, "sequence_number"), std::to_string(types.size()));
    types.push_back(text_at(event, "type"));
    EXPECT_THAT(body, HasSubstr("event: " + types.back() + "\ndata: " + data + "\n\n"));
  }
  return types;
}

TEST(Responses, StreamsEveryItemFromItsBeginningToItsEnd) {
  ServiceRig rig(parsing());
  const auto exchange =
      rig.post(kPath, asking(R"("hello")", R"(,"stream":true,"reasoning":{"effort":"low"},)"
                                           R"("tools":[)" +
                                               kTool + "]"));
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];
  wire::TokenOutput thoughts = ServiceRig::piece(request, "hm_");
  thoughts.tokens[2] = kEndThink;
  rig.publish(thoughts);
  rig.publish(ServiceRig::piece(request, "ok", 3));
  rig.publish(ServiceRig::piece(request, "ay", 5));
  rig.publish(ServiceRig::last(ServiceRig::piece(request, kCall, 7), Finish::kStop));

  const std::string body = exchange->wait().body;
  EXPECT_THAT(types_of(body),
              ElementsAre("response.created", "response.in_progress",  //
                          "response.output_item.added", "response.content_part.added",
                          "response.reasoning_text.delta", "response.reasoning_text.done",
                          "response.content_part.done", "response.output_item.done",
                          "response.output_item.added", "response.content_part.added",
                          "response.output_text.delta", "response.output_text.delta",
                          "response.output_text.done", "response.content_part.done",
                          "response.output_item.done",  //
                          "response.output_item.added", "response.function_call_arguments.delta",
                          "response.function_call_arguments.done", "response.output_item.done",
                          "response.completed"));
  const std::vector<std::string> events = data_of(body);
  EXPECT_EQ(text_at(json(events[0]), "response.status"), "in_progress");
  EXPECT_EQ(text_at(json(events[0]), "response.output"), "[]");
  const Json added = json(events[8]);
  EXPECT_EQ(text_at(added, "output_index"), "1");
  EXPECT_EQ(text_at(added, "item.status"), "in_progress");
  EXPECT_EQ(text_at(added, "item.content"), "[]");
  EXPECT_EQ(text_at(json(events[11]), "delta"), "ay");
  EXPECT_EQ(text_at(json(events[11]), "item_id"), text_at(added, "item.id"));
  EXPECT_EQ(text_at(json(events[12]), "text"), "okay");
  EXPECT_EQ(text_at(json(events[14]), "item.content.0.text"), "okay");
  EXPECT_EQ(text_at(json(events[15]), "item.arguments"), "");
  EXPECT_EQ(text_at(json(events[16]), "output_index"), "2");
  const Json last = json(events.back());
  EXPECT_EQ(at(last, "response.output").as_array()->size(), 3U);
  EXPECT_EQ(to_json(at(last, "response.output.1")), to_json(at(json(events[14]), "item")));
  EXPECT_THAT(text_at(last, "response.usage.output_tokens"), testing::Ne("null"));
}

TEST(Responses, AStreamThatIsCutEndsIncomplete) {
  ServiceRig rig;
  const auto exchange = rig.post(kPath, asking(R"("hello")", R"(,"stream":true)"));
  rig.publish(
      ServiceRig::last(ServiceRig::piece(rig.engine.wait_requests(1)[0], "y"), Finish::kLength));
  const std::string body = exchange->wait().body;
  EXPECT_EQ(types_of(body).back(), "response.incomplete");
  EXPECT_EQ(text_at(json(data_of(body).back()), "response.incomplete_details.reason"),
            "max_output_tokens");
}

TEST(Responses, AStreamThatFailsEndsWithTheFailedResponse) {
  ServiceRig rig;
  const auto exchange = rig.post(kPath, asking(R"("hello")", R"(,"stream":true)"));
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];
  rig.publish(ServiceRig::piece(request, "y"));
  wire::TokenOutput output = ServiceRig::last(ServiceRig::piece(request, "", 1), Finish::kAbort);
  output.error = Status(Code::kInternal, "the engine broke");
  rig.publish(output);

  const std::string body = exchange->wait().body;
  EXPECT_EQ(types_of(body).back(), "response.failed");
  const Json last = json(data_of(body).back());
  EXPECT_EQ(text_at(last, "response.status"), "failed");
  EXPECT_EQ(text_at(last, "response.error.code"), "server_error");
  EXPECT_THAT(text_at(last, "response.error.message"), HasSubstr("the engine broke"));
  EXPECT_EQ(text_at(last, "response.output.0.status"), "incomplete");
}

TEST(Responses, LogprobsAreThoseOfTheMessage) {
  ServiceRig rig(parsing());
  const auto exchange = rig.post(
      kPath, asking(R"("hello")", R"(,"stream":true,"reasoning":{"effort":"low"},"top_logprobs":1,)"
                                  R"("include":["message.output_text.logprobs"])"));
  const wire::GenerateRequest request = rig.engine.wait_requests(1)[0];
  EXPECT_TRUE(request.logprobs.wanted);
  EXPECT_EQ(request.logprobs.top, 1);
  wire::TokenOutput output = ServiceRig::piece(request, "h_x");
  output.tokens[1] = kEndThink;
  output.logprobs = {{'h', -1, {}, {}}, {kEndThink, -2, {}, {}}, {'x', -3, {{'y', -4}}, {}}};
  rig.publish(output);
  output = ServiceRig::last(ServiceRig::piece(request, "", 3), Finish::kStop);
  output.logprobs = {{kEos, -5, {}, {}}};
  rig.publish(output);

  const std::vector<std::string> events = data_of(exchange->wait().body);
  const auto delta = std::find_if(events.begin(), events.end(), [](const std::string& event) {
    return event.find("output_text.delta") != std::string::npos;
  });
  ASSERT_NE(delta, events.end());
  const std::string x =
      R"({"token":"x","bytes":[120],"logprob":-3,"top_logprobs":[{"token":"y","bytes":[121],)"
      R"("logprob":-4}]})";
  EXPECT_EQ(to_json(at(json(*delta), "logprobs")), "[" + x + "]");
  const Json told = at(json(events.back()), "response.output.1.content.0.logprobs");
  EXPECT_EQ(to_json(at(told, "0")), x);
  EXPECT_EQ(text_at(told, "1.token"), "<eos>");
  EXPECT_EQ(told.as_array()->size(), 2U);
}

TEST(ResponsesInput, ItemsAreTheMessagesOfChat) {
  EXPECT_EQ(items_prompt(R"("hello")"), chat_prompt(R"([{"role":"user","content":"hello"}])"));
  EXPECT_EQ(
      items_prompt(R"([{"role":"developer","content":"b"},{"type":"message","role":"user",)"
                   R"("content":[{"type":"input_text","text":"c"},)"
                   R"({"type":"input_text","text":"d"}]},)"
                   R"({"type":"message","role":"assistant","id":"msg_1","status":"completed",)"
                   R"("content":[{"type":"output_text","text":"e","annotations":[]}]},)"
                   R"({"role":"user","content":"f"}])",
                   R"(,"instructions":"a")"),
      chat_prompt(R"([{"role":"system","content":"a\n\nb"},{"role":"user","content":"c d"},)"
                  R"({"role":"assistant","content":"e"},{"role":"user","content":"f"}])"));
}

TEST(ResponsesInput, ATurnsItemsAreOneMessageAndOutputsFollowTheirCalls) {
  const std::string tools = R"(,"reasoning":{"effort":"high"},"tools":)";
  EXPECT_EQ(
      items_prompt(R"([{"role":"user","content":"q"},)"
                   R"({"type":"reasoning","id":"rs_1","summary":[],)"
                   R"("content":[{"type":"reasoning_text","text":"hm"}]},)"
                   R"({"role":"assistant","content":"wait"},)"
                   R"({"type":"function_call","call_id":"1","name":"sum","arguments":"{\"a\":1}"},)"
                   R"({"type":"function_call","call_id":"2","name":"sum","arguments":"{\"a\":2}"},)"
                   R"({"type":"function_call_output","call_id":"2","output":"two"},)"
                   R"({"type":"function_call_output","call_id":"1",)"
                   R"("output":[{"type":"input_text","text":"one"}]},)"
                   R"({"type":"function_call","call_id":"3","name":"sum","arguments":"{}"},)"
                   R"({"type":"function_call_output","call_id":"3","output":"three"}])",
                   tools + "[" + kTool + "]"),
      chat_prompt(
          R"([{"role":"user","content":"q"},)"
          R"({"role":"assistant","reasoning_content":"hm","content":"wait","tool_calls":[)"
          R"({"id":"1","type":"function","function":{"name":"sum","arguments":"{\"a\":1}"}},)"
          R"({"id":"2","type":"function","function":{"name":"sum","arguments":"{\"a\":2}"}}]},)"
          R"({"role":"tool","tool_call_id":"1","content":"one"},)"
          R"({"role":"tool","tool_call_id":"2","content":"two"},)"
          R"({"role":"assistant","content":"","tool_calls":[)"
          R"({"id":"3","type":"function","function":{"name":"sum","arguments":"{}"}}]},)"
          R"({"role":"tool","tool_call_id":"3","content":"three"}])",
          tools +
              R"([{"type":"function","function":{"name":"sum","parameters":{"type":"object"}}}])"));
}

TEST(ResponsesInput, ThoughtsAreASummaryWhereThereIsNothingElse) {
  const std::string call =
      R"({"type":"function_call","call_id":"1","name":"sum","arguments":"{}"},)"
      R"({"type":"function_call_output","call_id":"1","output":"x"}])";
  EXPECT_THAT(items_prompt(R"([{"role":"user","content":"q"},{"type":"reasoning","content":[],)"
                           R"("summary":[{"type":"summary_text","text":"in short"}]},)" +
                               call,
                           R"(,"reasoning":{"effort":"high"})"),
              HasSubstr("in short</think>"));
}

TEST(ResponsesInput, WhatIsWrongIsToldByItsPlace) {
  const auto told = [](const std::string& items) { return refusal_of(asking(items)); };
  EXPECT_THAT(refusal_of("{}"), HasSubstr("input: is missing"));
  EXPECT_THAT(told("3"), HasSubstr("input: "));
  EXPECT_THAT(told("[]"), HasSubstr("input: is empty"));
  EXPECT_THAT(told("[3]"), HasSubstr("input[0]: "));
  EXPECT_THAT(told(R"([{"role":"tool","content":"x"}])"), HasSubstr("input[0].role"));
  EXPECT_THAT(told(R"([{"role":"user"}])"), HasSubstr("input[0].content: is missing"));
  EXPECT_THAT(told(R"([{"role":"user","content":[{"type":"input_image","image_url":"x"}]}])"),
              HasSubstr(R"(input[0].content[0]: was "input_image")"));
  EXPECT_THAT(told(R"([{"type":"web_search_call","id":"x"}])"), HasSubstr("input[0].type"));
  EXPECT_THAT(told(R"([{"type":"function_call_output","call_id":"x","output":"y"}])"),
              HasSubstr("input[0].call_id"));
  EXPECT_THAT(told(R"([{"type":"function_call","call_id":"x","name":"f","arguments":"{}"}])"),
              HasSubstr("input[0]: no function_call_output"));
  EXPECT_THAT(told(R"([{"type":"function_call","call_id":"x","name":"f","arguments":"[]"}])"),
              HasSubstr("input[0].arguments"));
}

TEST(ResponsesFields, WhatThereIsNotIsRefusedByName) {
  const auto told = [](const std::string& member) {
    return refusal_of(asking(R"("x")", "," + member));
  };
  EXPECT_THAT(told(R"("previous_response_id":"resp_1")"), HasSubstr("previous_response_id: "));
  EXPECT_THAT(told(R"("conversation":"c")"), HasSubstr("conversation: "));
  EXPECT_THAT(told(R"("prompt":{"id":"p"})"), HasSubstr("prompt: "));
  EXPECT_THAT(told(R"("background":true)"), HasSubstr("background: "));
  EXPECT_THAT(told(R"("n":2)"), HasSubstr("n: was 2"));
  EXPECT_THAT(told(R"("tools":[{"type":"web_search"}])"), HasSubstr("tools[0].type"));
  EXPECT_THAT(told(R"("tools":[{"type":"function"}])"), HasSubstr("tools[0].name"));
  EXPECT_THAT(told(R"("tool_choice":"sometimes")"), HasSubstr("tool_choice: "));
  EXPECT_THAT(told(R"("tool_choice":{"type":"mcp"})"), HasSubstr("tool_choice: "));
  EXPECT_THAT(told(R"("tool_choice":"required")"), HasSubstr("tool_choice: "));
  EXPECT_THAT(told(R"("text":{"format":{"type":"grammar"}})"), HasSubstr("text.format.type"));
  EXPECT_THAT(told(R"("text":{"format":{"type":"json_schema","name":"x"}})"),
              HasSubstr("text.format.schema"));
  EXPECT_THAT(told(R"("text":{"format":{"type":"json_object"}},"regex":"a")"),
              HasSubstr("text.format: "));
  EXPECT_THAT(told(R"("truncation":"some")"), HasSubstr("truncation: "));
  EXPECT_THAT(told(R"("include":"x")"), HasSubstr("include: "));
  EXPECT_THAT(told(R"("max_output_tokens":0)"), HasSubstr("max_output_tokens"));
  EXPECT_THAT(told(R"("metadata":[])"), HasSubstr("metadata: "));
  EXPECT_THAT(told(R"("reasoning":{"effort":"some"})"), HasSubstr("reasoning.effort"));
}

TEST(ResponsesFields, WhatHasNoEffectIsTaken) {
  ServiceRig rig;
  const Json told = answer(
      rig,
      asking(R"("x")", R"(,"store":true,"truncation":"auto","user":"u","safety_identifier":"s",)"
                       R"("include":["reasoning.encrypted_content"],"service_tier":"auto",)"
                       R"("background":false,"previous_response_id":null,"max_tool_calls":3)"),
      "y", Finish::kStop);
  EXPECT_EQ(text_at(told, "truncation"), "auto");
  EXPECT_EQ(text_at(told, "user"), "u");
  EXPECT_EQ(text_at(told, "store"), "false");
}

TEST(ResponsesFields, TheFormatOfTheTextIsAConstraint) {
  ServiceRig rig;
  const auto schema = rig.post(
      kPath, asking(R"("x")", R"(,"text":{"format":{"type":"json_schema","name":"n","strict":true,)"
                              R"("schema":{"type":"integer"}}})"));
  const auto object =
      rig.post(kPath, asking(R"("x")", R"(,"text":{"format":{"type":"json_object"}})"));
  std::vector<std::string> texts;
  for (const wire::GenerateRequest& request : rig.engine.wait_requests(2)) {
    EXPECT_EQ(request.constraint.kind, wire::ConstraintKind::kJsonSchema);
    texts.push_back(request.constraint.text);
  }
  EXPECT_THAT(texts,
              testing::UnorderedElementsAre(R"({"type":"integer"})", R"({"type":"object"})"));
}

TEST(ResponsesFields, AllowedToolsAreTheOnesThatTheModelHearsOf) {
  const std::string other = R"({"type":"function","name":"other"})";
  const std::string allowed =
      R"({"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"other"}]})";
  const std::string both = ",\"tools\":[" + kTool + "," + other + "]";
  EXPECT_EQ(items_prompt(R"("x")", both + R"(,"tool_choice":)" + allowed),
            items_prompt(R"("x")", ",\"tools\":[" + other + "]"));
  EXPECT_THAT(
      refusal_of(asking(R"("x")", ",\"tools\":[" + kTool + R"(],"tool_choice":)" + allowed)),
      HasSubstr("tool_choice.tools[0]"));
}

TEST(Responses, NothingIsStored) {
  ServiceRig rig;
  for (const auto& [method, path] :
       {std::pair{"GET", "/v1/responses/resp_1"}, {"POST", "/v1/responses/resp_1/cancel"}}) {
    const http::Response response = rig.ask(method, path);
    EXPECT_EQ(response.status, 404);
    EXPECT_THAT(text_at(json(response.body), "error.message"),
                HasSubstr("'resp_1' not found: this server keeps no responses"));
  }
}

}  // namespace
}  // namespace fathom::api
