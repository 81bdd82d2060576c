#include "text/chat_encoding.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "text/chat_markers.h"
#include "text/python_json.h"

// The rules one by one; DeepSeek's own conversations are in chat_encoding_vectors_test.cc.

namespace fathom::text {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

std::vector<Json> messages_of(const std::string& json) {
  return *parse_json(json).value().as_array();
}

std::string encoded(const std::string& messages, const ChatEncodingOptions& options = {}) {
  const Result<std::string> prompt = encode_chat(messages_of(messages), options);
  return prompt.ok() ? *prompt : "refused: " + prompt.status().message();
}

std::string refusal(const std::string& messages, const ChatEncodingOptions& options = {}) {
  const Result<std::string> prompt = encode_chat(messages_of(messages), options);
  EXPECT_FALSE(prompt.ok()) << *prompt;
  return prompt.ok() ? "" : prompt.status().message();
}

std::string python(const std::string& json) {
  std::string out;
  append_python_json(out, parse_json(json).value());
  return out;
}

constexpr ChatEncodingOptions kThinking{.thinking = true};

TEST(PythonJson, WritesWhatPythonWrites) {
  EXPECT_EQ(python(R"({"b":[1,2,{"a":null}],"a":true,"e":{},"f":[]})"),
            R"({"b": [1, 2, {"a": null}], "a": true, "e": {}, "f": []})");
  EXPECT_EQ(python(R"("\u0001\b\f\n\r\t\"\\\/é\u007f\u2028挪")"),
            "\"\\u0001\\b\\f\\n\\r\\t\\\"\\\\/é\x7f\u2028挪\"");
  const std::vector<std::pair<std::string, std::string>> numbers{
      {"0", "0"},
      {"-0", "0"},
      {"-0.0", "-0.0"},
      {"123456789012345678901234567890", "123456789012345678901234567890"},
      {"1.50", "1.5"},
      {"1e5", "100000.0"},
      {"123456.789e3", "123456789.0"},
      {"1E15", "1000000000000000.0"},
      {"1e16", "1e+16"},
      {"1.25e16", "1.25e+16"},
      {"0.0001", "0.0001"},
      {"0.00012", "0.00012"},
      {"0.00001", "1e-05"},
      {"1e-7", "1e-07"},
      {"5e-324", "5e-324"},
      {"1e400", "Infinity"},
      {"-1e400", "-Infinity"},
      {"0.1", "0.1"},
      {"10.25", "10.25"},
      {"9007199254740993.0", "9007199254740992.0"},
  };
  for (const auto& [given, written] : numbers) EXPECT_EQ(python(given), written) << given;
}

TEST(ChatEncoding, AConversationOfOneTurn) {
  const std::string hello = R"([{"role":"user","content":"hello"}])";
  EXPECT_EQ(encoded(hello), "<｜begin▁of▁sentence｜><｜User｜>hello<｜Assistant｜></think>");
  EXPECT_EQ(encoded(hello, kThinking),
            "<｜begin▁of▁sentence｜><｜User｜>hello<｜Assistant｜><think>");
  EXPECT_EQ(encoded(hello, {.begin = false}), "<｜User｜>hello<｜Assistant｜></think>");
  EXPECT_EQ(encoded("[]"), "<｜begin▁of▁sentence｜>");
}

TEST(ChatEncoding, ThoughtsOfEarlierTurnsAreGone) {
  EXPECT_EQ(encoded(R"([{"role":"user","content":"a"},
                        {"role":"assistant","reasoning_content":"r","content":"b"},
                        {"role":"user","content":"c"}])",
                    kThinking),
            "<｜begin▁of▁sentence｜><｜User｜>a<｜Assistant｜></think>b<｜end▁of▁sentence｜>"
            "<｜User｜>c<｜Assistant｜><think>");
}

TEST(ChatEncoding, ContentMayBeTextPartsOrNull) {
  EXPECT_EQ(encoded(R"([{"role":"user","content":[{"type":"text","text":"a"},
                        {"type":"text","text":"b"}]}])",
                    {.begin = false}),
            "<｜User｜>a b<｜Assistant｜></think>");
  EXPECT_EQ(encoded(R"([{"role":"user","content":null}])", {.begin = false}),
            "<｜User｜><｜Assistant｜></think>");
  EXPECT_EQ(refusal(R"([{"role":"user","content":[{"type":"image_url","image_url":{}}]}])"),
            "messages[0]: content[0]: expected {\"type\": \"text\", \"text\": …}; this model reads "
            "text alone");
  EXPECT_EQ(refusal(R"([{"role":"user","content":5}])"),
            "messages[0]: content: expected a string or an array of text parts, was a number");
}

TEST(ChatEncoding, CallsAreWrittenParameterByParameter) {
  const std::string calls = R"([{"role":"user","content":"q"},{"role":"assistant","content":"So:",
      "tool_calls":[{"id":"x","type":"function","function":{"name":"f","arguments":
      "{\"s\": \"a\\n<b>\", \"n\": 1.0, \"o\": {\"k\": [1,2]}}"}},
      {"type":"function","function":{"name":"now","arguments":{}}}]},
      {"role":"tool","content":"r1"},{"role":"tool","content":"r2"}])";
  EXPECT_EQ(encoded(calls, {.thinking = false, .begin = false}),
            "<｜User｜>q<｜Assistant｜></think>So:\n\n<｜DSML｜function_calls>\n"
            "<｜DSML｜invoke name=\"f\">\n"
            "<｜DSML｜parameter name=\"s\" string=\"true\">a\n<b></｜DSML｜parameter>\n"
            "<｜DSML｜parameter name=\"n\" string=\"false\">1.0</｜DSML｜parameter>\n"
            "<｜DSML｜parameter name=\"o\" string=\"false\">{\"k\": [1, 2]}</｜DSML｜parameter>\n"
            "</｜DSML｜invoke>\n<｜DSML｜invoke name=\"now\">\n\n</｜DSML｜invoke>\n"
            "</｜DSML｜function_calls><｜end▁of▁sentence｜>\n\n<function_results>\n"
            "<result>r1</result>\n<result>r2</result>\n</function_results>\n\n</think>");
  EXPECT_THAT(encoded(calls, kThinking), EndsWith("</function_results>\n\n<think>"));
}

TEST(ChatEncoding, FewerResultsThanCallsLeaveTheBlockOpen) {
  EXPECT_THAT(encoded(R"([{"role":"assistant","tool_calls":[
                          {"function":{"name":"f","arguments":"{}"}},
                          {"function":{"name":"g","arguments":"{}"}}]},
                          {"role":"tool","content":"r"}])"),
              EndsWith("\n\n<function_results>\n<result>r</result>"));
}

TEST(ChatEncoding, ToolsFollowTheSystemsText) {
  const std::string system = R"([{"role":"system","content":"S","tools":[{"type":"function",
      "function":{"name":"f","parameters":{"type":"object"}}},
      {"type":"function","function":{"name":"g"}}],"response_format":{"type":"x"}}])";
  const std::string prompt = encoded(system, {.begin = false});
  EXPECT_TRUE(prompt.starts_with("S\n\n## Tools\n\nYou have access"));
  EXPECT_THAT(prompt, EndsWith("<functions>\n{\"name\": \"f\", \"parameters\": {\"type\": "
                               "\"object\"}}\n{\"name\": \"g\"}\n</functions>\n"
                               "\n\n## Response Format:\n\nYou MUST strictly adhere to the "
                               "following schema to reply:\n{\"type\": \"x\"}"));
  const std::string compact =
      encoded(system, {.begin = false, .tools_block = ToolsBlock::kCompact});
  EXPECT_THAT(compact, HasSubstr("S\n\n## Tools\nYou have access"));
  EXPECT_EQ(prompt.size() - compact.size(), 7U) << "blank lines";
}

TEST(ChatEncoding, ToolsOfTheRequestBelongToTheFirstMessage) {
  const Json tools = parse_json(R"([{"function":{"name":"f"}}])").value();
  ChatEncodingOptions options;
  options.tools = tools.as_array();
  const std::string block = [] {
    std::string out = "\n\n";
    append_tools_block(out, R"({"name": "f"})", /*official=*/true);
    return out;
  }();
  EXPECT_EQ(encoded(R"([{"role":"user","content":"a"}])", options),
            std::string(kBeginOfSentence) + block + "<｜User｜>a<｜Assistant｜></think>");
  EXPECT_EQ(
      encoded(R"([{"role":"system","content":"S","tools":[{"function":{"name":"g"}}]}])", options),
      std::string(kBeginOfSentence) + "S" + block);
  const Json wrong = parse_json(R"([{"type":"function"}])").value();
  options.tools = wrong.as_array();
  EXPECT_EQ(refusal(R"([{"role":"user","content":"a"}])", options),
            "tools[0]: expected {\"type\": \"function\", \"function\": {…}}, was an object without "
            "the object function");
}

TEST(ChatEncoding, EarlierMessagesMayBeLeftOut) {
  const std::string talk = R"([{"role":"user","content":"a"},{"role":"assistant","content":"b",
      "tool_calls":[{"function":{"name":"f","arguments":"{}"}}]},{"role":"tool","content":"c"}])";
  const std::string whole = encoded(talk);
  ChatEncodingOptions rest;
  rest.first_message = 2;
  EXPECT_EQ(encoded(talk, rest),
            "\n\n<function_results>\n<result>c</result>\n</function_results>\n\n</think>");
  EXPECT_THAT(whole, EndsWith(encoded(talk, rest)));
}

TEST(ChatEncoding, RefusalsNameTheMessage) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {R"([{"role":"user","content":"a"},"b"])", "messages[1]: expected an object, was a string"},
      {R"([{"content":"a"}])",
       "messages[0]: role: expected system, developer, user, assistant or tool, was absent"},
      {R"([{"role":"critic"}])",
       "messages[0]: role: expected system, developer, user, assistant or tool, was \"critic\""},
      {R"([{"role":"developer","content":""}])",
       "messages[0]: content: is empty, a developer's message needs one"},
      {R"([{"role":"tool","content":"r"}])",
       "messages[0]: a tool's message must come behind an assistant's with tool_calls"},
      {R"([{"role":"user","content":"a"},{"role":"tool","content":"r"}])",
       "messages[1]: a tool's message must come behind an assistant's with tool_calls"},
      {R"([{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]},
           {"role":"tool","content":"r"},{"role":"tool","content":"r"}])",
       "messages[2]: is result 2 of messages[0], which has 1 tool_calls"},
      {R"([{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"[1]"}}]}])",
       "messages[0]: tool_calls[0]: function.arguments: expected a JSON object, or one as a "
       "string"},
      {R"([{"role":"assistant","tool_calls":[{"function":{"arguments":"{}"}}]}])",
       "messages[0]: tool_calls[0]: function.name: expected a string"},
      {R"([{"role":"system","tools":[{"type":"function"}]}])",
       "messages[0]: tools[0]: expected {\"type\": \"function\", \"function\": {…}}, was an object "
       "without the object function"},
      {R"([{"role":"system","tools":{}}])", "messages[0]: tools: expected an array, was an object"},
      {R"([{"role":"assistant","reasoning_content":1}])",
       "messages[0]: reasoning_content: expected a string, was a number"},
  };
  for (const auto& [messages, message] : cases) EXPECT_EQ(refusal(messages), message);
  EXPECT_THAT(refusal(R"([{"role":"assistant","tool_calls":[{"function":{"name":"f",
                          "arguments":"{"}}]}])"),
              HasSubstr("tool_calls[0]: function.arguments: not valid JSON"));
  EXPECT_EQ(
      refusal(R"([{"role":"user","content":"a"},{"role":"assistant","content":"b"}])", kThinking),
      "messages[1]: behind the last question and with thinking on, an assistant's message "
      "needs reasoning_content or tool_calls");
}

}  // namespace
}  // namespace fathom::text
