// Tools of chat requests: what is asked of them, and what makes the model call one. The endpoints
// that parse a given text.
#include <gtest/gtest.h>

#include "api/schema_check.h"
#include "api/service_testing.h"
#include "base/json.h"

namespace fathom::api {
namespace {

constexpr const char* kPath = "/v1/chat/completions";

ServiceOptions with_tools(text::ToolCallFormat format) {
  ServiceOptions options = ServiceRig::default_options();
  options.tool_calls = format;
  options.context_tokens = 20000;  // tools make long prompts
  options.max_request_tokens = 19999;
  options.max_prompt_tokens = 19990;
  return options;
}

std::string tool(const std::string& name, const std::string& more = "") {
  return R"({"type":"function","function":{"name":")" + name + "\"" + more + "}}";
}

std::string body_with(const std::string& tools, const std::string& more = "") {
  return R"({"messages":[{"role":"user","content":"a"}],"tools":[)" + tools + "]" + more + "}";
}

std::string checked(const std::string& schema) {
  const Result<Json> result = checked_schema(parse_json(schema).value());
  return result.ok() ? to_json(*result) : result.status().message();
}

TEST(SchemaCheck, NamesOfTypesFromElsewhereBecomeJsonSchemas) {
  EXPECT_EQ(checked(R"({"type":"dict","properties":{"a":{"type":["Varchar","int","null"]}},)"
                    R"("x-own":{"type":"int"},"required":["a"]})"),
            R"({"type":"object","properties":{"a":{"type":["string","integer","null"]}},)"
            R"("x-own":{"type":"int"},"required":["a"]})");
  EXPECT_EQ(checked("true"), "true");
  EXPECT_EQ(checked(R"({"properties":{"type":{"type":"str"}}})"),
            R"({"properties":{"type":{"type":"string"}}})")
      << "a property may be called type";
}

TEST(SchemaCheck, SaysWhereASchemaIsWrong) {
  EXPECT_EQ(checked("5"), "expected a schema: an object or a boolean, was a number");
  EXPECT_EQ(
      checked(R"({"properties":{"a":{"type":"place"}}})"),
      R"(properties: "a": type: was "place", expected array, boolean, integer, null, number, )"
      "object or string, or an array of these");
  EXPECT_EQ(checked(R"({"properties":[]})"),
            "properties: expected an object of schemas, was an array");
  EXPECT_EQ(checked(R"({"anyOf":[true,7]})"),
            "anyOf: 1: expected a schema: an object or a boolean, was a number");
  EXPECT_EQ(checked(R"({"anyOf":[]})"), "anyOf: is empty, expected at least one schema");
  EXPECT_EQ(checked(R"({"required":["a","a"]})"), R"(required: has "a" twice)");
  EXPECT_EQ(checked(R"({"required":true})"),
            "required: expected an array of strings, was a boolean");
  EXPECT_EQ(checked(R"({"minLength":-1})"),
            "minLength: was -1, expected a whole number of at least 0");
  EXPECT_EQ(checked(R"({"multipleOf":0})"), "multipleOf: was 0, expected a number above 0");
  EXPECT_EQ(checked(R"({"description":7})"), "description: expected a string, was a number");
}

TEST(Tools, AreRefusedByTheirIndex) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {body_with(tool("")), "tools[0]: function.name: expected a string that is not empty"},
      {body_with(tool("f") + R"(,{"type":"code","function":{"name":"g"}})"),
       R"(tools[1]: type: was "code", expected "function")"},
      {body_with(tool("f", R"(,"parameters":{"type":"place"})")),
       R"(tools[0]: function.parameters: type: was "place", expected array, boolean, integer, )"
       "null, number, object or string, or an array of these"},
      {body_with(tool("f", R"(,"strict":1)")),
       "tools[0]: function.strict: expected true or false, was a number"},
      {body_with(tool("f"), R"(,"tool_choice":{"type":"function","function":{"name":"g"}})"),
       R"(tool_choice.function.name: was "g", expected the name of one of the tools)"},
      {R"({"messages":[{"role":"user","content":"a"},{"role":"developer","content":"b","tools":[)" +
           tool("f") + R"(]}],"tools":[)" + tool("f") + "]}",
       R"(messages[1]: tools: "f" is a tool already, expected names that differ)"},
  };
  ServiceRig rig(with_tools(text::ToolCallFormat::kDeepSeekV31));
  for (const auto& [body, message] : cases) {
    const http::Response response = rig.ask("POST", kPath, body);
    EXPECT_EQ(response.status, 400) << body;
    EXPECT_EQ(*parse_json(response.body).value().find("message")->as_string(), message);
  }
  EXPECT_TRUE(rig.engine.requests().empty());
}

TEST(Tools, SpecialTokensAreTextWhereCallsAreLookedFor) {
  ServiceRig rig(with_tools(text::ToolCallFormat::kDeepSeekV32));
  const std::string asks = R"(,"no_stop_trim":true)";
  for (const auto& [body, text] : std::vector<std::pair<std::string, std::string>>{
           {body_with(tool("f"), asks), "x<eos>"},
           {body_with(tool("f"), asks + R"(,"tool_choice":"none")"), "x"},
           {body_with("", asks), "x"}}) {
    const std::size_t before = rig.engine.requests().size();
    const auto exchange = rig.post(kPath, body);
    const auto request = rig.engine.wait_requests(before + 1).back();
    rig.publish(ServiceRig::last(ServiceRig::piece(request, "x"), wire::Finish::kStop));
    const Json answer = parse_json(exchange->wait().body).value();
    const Json& choice = answer.find("choices")->as_array()->front();
    EXPECT_EQ(*choice.find("message")->find("content")->as_string(), text) << body;
  }
}

TEST(Tools, ACallThatHasToBeIsAListOfJsonWithoutAFormOfItsOwn) {
  ServiceRig rig(with_tools(text::ToolCallFormat::kNone));
  const std::string tools =
      tool("f", R"(,"parameters":{"type":"dict","$defs":{"d":{"type":"int"}}})") + "," + tool("g");
  const auto exchange = rig.post(kPath, body_with(tools, R"(,"tool_choice":"required")"));
  const auto request = rig.engine.wait_requests(1)[0];
  EXPECT_EQ(request.constraint.kind, wire::ConstraintKind::kJsonSchema);
  EXPECT_EQ(request.constraint.text,
            R"({"type":"array","minItems":1,"items":{"anyOf":[{"type":"object","properties":)"
            R"({"name":{"type":"string","enum":["f"]},"parameters":{"type":"object"}},"required":)"
            R"(["name","parameters"],"additionalProperties":false},{"type":"object","properties":)"
            R"({"name":{"type":"string","enum":["g"]},"parameters":{"type":"object"}},"required":)"
            R"(["name","parameters"],"additionalProperties":false}]},"$defs":{"d":{"type":)"
            R"("integer"}}})");
  rig.publish(
      ServiceRig::last(ServiceRig::piece(request, R"([{"name": "g", "parameters": {"a": 1}}])"),
                       wire::Finish::kStop));

  const Json answer = parse_json(exchange->wait().body).value();
  const Json& choice = answer.find("choices")->as_array()->front();
  EXPECT_EQ(*choice.find("finish_reason")->as_string(), "tool_calls");
  const Json& call = choice.find("message")->find("tool_calls")->as_array()->front();
  EXPECT_EQ(*call.find("function")->find("name")->as_string(), "g");
  EXPECT_EQ(*call.find("function")->find("arguments")->as_string(), R"({"a": 1})");
}

TEST(Tools, ChoicesAndStrictToolsConstrainDsml) {
  ServiceRig rig(with_tools(text::ToolCallFormat::kDeepSeekV32));
  const std::string strict = tool(
      "f", R"(,"strict":true,"parameters":{"type":"object","properties":{"n":{"type":"int"}}})");
  const std::string named = R"(,"tool_choice":{"type":"function","function":{"name":"g"}})";
  const std::vector<std::pair<std::string, std::string>> cases{
      {body_with(tool("f")), ""},
      {body_with(tool("f"), R"(,"tool_choice":"required")"), "\"begin\":\"\\n\\n<｜DSML｜function"},
      {body_with(tool("f") + "," + tool("g"), named), R"(name=\"g\")"},
      {body_with(strict), R"("properties":{"n":{"type":"integer"}})"},
      {body_with(strict, R"(,"tool_choice":"none")"), ""},
  };
  for (const auto& [body, part] : cases) {
    const std::size_t before = rig.engine.requests().size();
    rig.post(kPath, body);
    const wire::Constraint constraint = rig.engine.wait_requests(before + 1).back().constraint;
    EXPECT_EQ(constraint.kind == wire::ConstraintKind::kStructuralTag, !part.empty()) << body;
    EXPECT_NE(constraint.text.find(part), std::string::npos) << constraint.text;
  }
  EXPECT_EQ(rig.ask("POST", kPath, body_with(tool("f g"), R"(,"tool_choice":"required")")).status,
            400);
}

TEST(Tools, TheAnswersOwnConstraintComesBeforeThatOfAChoice) {
  ServiceRig rig(with_tools(text::ToolCallFormat::kNone));
  rig.post(kPath, body_with(tool("f"), R"(,"tool_choice":"required","regex":"a+")"));

  EXPECT_EQ(rig.engine.wait_requests(1)[0].constraint.text, "a+");
}

TEST(ParseAnswer, FindsCallsInAText) {
  ServiceRig rig;
  const std::string text =
      "Sure.\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"f\">\n<｜DSML｜parameter "
      "name=\"n\" string=\"false\">10</｜DSML｜parameter>\n</｜DSML｜invoke>\n"
      "</｜DSML｜function_calls>";
  const std::string head =
      "{\"text\":" + to_json(Json::string(text)) + R"(,"tools":[)" + tool("f") + "]";

  EXPECT_EQ(
      rig.ask("POST", "/parse_function_call", head + R"(,"tool_call_parser":"deepseekv32"})").body,
      R"({"normal_text":"Sure.","calls":[{"tool_index":0,"name":"f",)"
      R"("parameters":"{\"n\": 10}"}]})");
  EXPECT_EQ(rig.ask("POST", "/parse_function_call", head + "}").body,
            R"({"normal_text":)" + to_json(Json::string(text)) + R"(,"calls":[]})")
      << "the service has no parser";
  EXPECT_EQ(rig.ask("POST", "/parse_function_call", head + R"(,"tool_call_parser":"x"})").status,
            400);
  EXPECT_EQ(rig.ask("POST", "/parse_function_call", "{}").status, 400);
}

TEST(ParseAnswer, SeparatesReasoning) {
  ServiceRig rig;
  EXPECT_EQ(rig.ask("POST", "/separate_reasoning",
                    R"({"text":"<think>a</think>b","reasoning_parser":"deepseek-r1"})")
                .body,
            R"({"reasoning_text":"a","text":"b"})");
  EXPECT_EQ(rig.ask("POST", "/separate_reasoning", R"({"text":5})").status, 400);
}

}  // namespace
}  // namespace fathom::api
