#include "text/chat_template.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fathom::text {

namespace {

using testing::HasSubstr;

// Concatenates arguments, as DeepSeek-V3, R1 and V3.1 do.
constexpr const char* kTakesText =
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% for c in m.tool_calls or [] %}"
    "{{ '[' + c.function.name + c.function.arguments + ']' }}{% endfor %}{% endfor %}";
constexpr const char* kTakesObjects =
    "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}"
    "[{{ c.function.arguments | tojson }}]{% endfor %}{% endfor %}";

Json config_with(Json chat_template) {
  Json config = Json::object();
  config.set("bos_token", Json::string("<s>"));
  Json eos = Json::object();
  eos.set("content", Json::string("</s>"));
  config.set("eos_token", std::move(eos));
  config.set("chat_template", std::move(chat_template));
  return config;
}

std::shared_ptr<const ChatTemplate> made_of(const std::string& source) {
  const std::string config = to_json(config_with(Json::string(source)));
  return ChatTemplate::from_files({.tokenizer_config = config}).value();
}

Result<std::string> rendered(const std::string& source,
                             const std::string& body,
                             bool thinking = false) {
  const Json request = parse_json(body).value();
  return made_of(source)->render(
      {.body = &request, .messages = *request.find("messages")->as_array(), .thinking = thinking});
}

std::string prompt(const std::string& source, const std::string& body, bool thinking = false) {
  const Result<std::string> text = rendered(source, body, thinking);
  return text.ok() ? *text : text.status().message();
}

std::string call_with(const std::string& arguments) {
  return R"({"messages":[{"role":"assistant","content":null,"tool_calls":[{"type":"function",)"
         R"("function":{"name":"f","arguments":)" +
         arguments + "}}]}]}";
}

TEST(ChatTemplate, GivesTokensToolsAndTheWishForAnAnswer) {
  const std::string source =
      "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}{{ tools is none }}"
      "{{ '>' if add_generation_prompt }}";

  EXPECT_EQ(prompt(source, R"({"messages":[{"role":"user","content":"hi"}]})"), "<s>hi</s>True>");
}

TEST(ChatTemplate, ArgumentsAreObjectsWhereTheTemplateTakesThem) {
  EXPECT_FALSE(made_of(kTakesObjects)->takes_argument_text());
  EXPECT_EQ(prompt(kTakesObjects, call_with(R"("{\"a\":1}")")), R"([{"a": 1}])");
  EXPECT_EQ(prompt(kTakesObjects, call_with(R"({"a":1})")), R"([{"a": 1}])");
}

TEST(ChatTemplate, ArgumentsStayTextWhereTheTemplateAddsThemToText) {
  EXPECT_TRUE(made_of(kTakesText)->takes_argument_text());
  EXPECT_EQ(prompt(kTakesText, call_with(R"("{\"a\":1}")")), R"(<assistant>[f{"a":1}])");
  EXPECT_EQ(prompt(kTakesText, call_with(R"({"a":1})")), R"(<assistant>[f{"a": 1}])");
}

// It prints a dict as Python does, which was not meant.
TEST(ChatTemplate, APrintedDictIsNoJson) {
  EXPECT_TRUE(made_of("{% for m in messages %}{% for c in m.tool_calls or [] %}"
                      "{{ c.function.arguments }}{% endfor %}{% endfor %}")
                  ->takes_argument_text());
}

TEST(ChatTemplate, ArgumentsThatAreNoObjectAreRefusedByTheirPlace) {
  for (const char* const source : {kTakesText, kTakesObjects}) {
    EXPECT_THAT(prompt(source, call_with(R"("{")")),
                HasSubstr("messages[0]: tool_calls[0]: function.arguments: not valid JSON"));
    EXPECT_THAT(prompt(source, call_with(R"("[1]")")), HasSubstr("expected an object"));
    EXPECT_THAT(prompt(source, call_with("7")), HasSubstr("expected an object, was a number"));
    EXPECT_THAT(prompt(source, call_with(R"("\"text\"")")), HasSubstr("expected an object"));
  }
}

TEST(ChatTemplate, NullsAreAbsentAndNoContentIsEmpty) {
  const std::string source =
      "{% for m in messages %}[{{ m.content }}|{{ m.name is defined }}|{{ m.content is none }}]"
      "{% endfor %}";

  EXPECT_EQ(prompt(source, R"({"messages":[{"role":"user","content":null,"name":null},
                               {"role":"user","name":"n"}]})"),
            "[|False|False][|True|False]");
}

TEST(ChatTemplate, PartsAreJoinedUnlessTheTemplateReadsThem) {
  const std::string body = R"({"messages":[{"role":"user","content":
      [{"type":"text","text":"a"},{"type":"text","text":"b"}]}]})";

  EXPECT_EQ(prompt("{{ messages[0].content }}", body), "a b");
  EXPECT_EQ(prompt("{% for m in messages %}{% for p in m.content %}({{ p.text }}){% endfor %}"
                   "{% endfor %}",
                   body),
            "(a)(b)");
}

TEST(ChatTemplate, ToolChoiceSaysWhichToolsAreShown) {
  const std::string source = "{% for t in tools or [] %}{{ t.function.name }},{% endfor %}";
  const std::string begin = R"({"messages":[],"tools":[{"function":{"name":"a"}},
                               {"function":{"name":"b"}}])";

  EXPECT_EQ(prompt(source, begin + "}"), "a,b,");
  EXPECT_EQ(prompt(source, begin + R"(,"tool_choice":"none"})"), "");
  EXPECT_EQ(prompt(source, begin + R"(,"tool_choice":{"function":{"name":"b"}}})"), "b,");
}

TEST(ChatTemplate, ThinkingHasBothNamesAndKwargsComeFirst) {
  const std::string source = "{{ thinking }}{{ enable_thinking }}{{ x }}";

  EXPECT_EQ(prompt(source, R"({"messages":[]})"), "");
  EXPECT_EQ(prompt(source, R"({"messages":[]})", true), "TrueTrue");
  EXPECT_EQ(prompt(source, R"({"messages":[],"reasoning_effort":"none"})"), "FalseFalse");
  EXPECT_EQ(prompt(source, R"({"messages":[],"chat_template_kwargs":{"thinking":7,"x":8}})", true),
            "7True8");
  EXPECT_THAT(prompt(source, R"({"messages":[],"chat_template_kwargs":{"messages":[]}})"),
              HasSubstr("\"messages\" cannot be set"));
}

TEST(ChatTemplate, WhatTheTemplateSaysReachesTheClient) {
  EXPECT_EQ(prompt("{{ raise_exception('no ' ~ messages[0].role) }}",
                   R"({"messages":[{"role":"user","content":""}]})"),
            "the chat template: line 1: no user");
}

TEST(ChatTemplate, AListHasADefaultAndOneForTools) {
  const std::string config = to_json(config_with(parse_json(R"([
      {"name":"tool_use","template":"with tools"},{"name":"default","template":"plain"}])")
                                                     .value()));
  const auto chosen = ChatTemplate::from_files({.tokenizer_config = config}).value();
  const Json plain = parse_json(R"({"messages":[]})").value();
  const Json tools = parse_json(R"({"messages":[],"tools":[{}]})").value();

  EXPECT_EQ(chosen->render({.body = &plain}).value(), "plain");
  EXPECT_EQ(chosen->render({.body = &tools}).value(), "with tools");
}

// Of the two it is the one that renders which is asked whether it reads parts.
TEST(ChatTemplate, EachOfTheTwoGetsContentAsItReadsIt) {
  const std::string config = to_json(config_with(parse_json(R"([
      {"name":"tool_use","template":"{{ messages[0].content }}"},
      {"name":"default","template":"{% for p in messages[0].content %}({{ p.text }}){% endfor %}"}])")
                                                     .value()));
  const auto chosen = ChatTemplate::from_files({.tokenizer_config = config}).value();
  const Json messages = parse_json(R"([{"role":"user","content":
      [{"type":"text","text":"a"},{"type":"text","text":"b"}]}])")
                            .value();
  const Json plain = Json::object();
  const Json tools = parse_json(R"({"tools":[{}]})").value();

  EXPECT_EQ(chosen->render({.body = &plain, .messages = *messages.as_array()}).value(), "(a)(b)");
  EXPECT_EQ(chosen->render({.body = &tools, .messages = *messages.as_array()}).value(), "a b");
}

TEST(ChatTemplate, FilesThatAreWrongAreNamed) {
  EXPECT_EQ(ChatTemplate::from_files({}).value(), nullptr);
  EXPECT_EQ(ChatTemplate::from_files({.tokenizer_config = "{}"}).value(), nullptr);
  EXPECT_THAT(ChatTemplate::from_files({.tokenizer_config = "{"}).status().message(),
              HasSubstr("tokenizer_config.json: not valid JSON"));
  EXPECT_THAT(ChatTemplate::from_files({.tokenizer_config = R"({"chat_template":"{{"})"})
                  .status()
                  .message(),
              HasSubstr("tokenizer_config.json: chat_template: line 1: a tag has no end"));
  EXPECT_THAT(
      ChatTemplate::from_files({.tokenizer_config = R"({"chat_template":7})"}).status().message(),
      HasSubstr("expected a string or an array, was a number"));
  EXPECT_THAT(ChatTemplate::from_files({.chat_template = "{% nosuch %}"}).status().message(),
              HasSubstr("chat_template.jinja: line 1"));
}

// A folder of a checkpoint that goes with the test.
class ChatTemplateFiles : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "chat-template-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string write(const char* name, const std::string& text) {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return (folder_ / name).string();
  }
  // The prompt of no messages; "none" for no template.
  std::string chosen(const std::string& argument, bool own_encoding = false) {
    const auto found = ChatTemplate::choose(argument, folder_, own_encoding);
    if (!found.ok()) return found.status().message();
    if (*found == nullptr) return "none";
    const Json body = parse_json(R"({"messages":[]})").value();
    return (*found)->render({.body = &body}).value();
  }

  std::filesystem::path folder_;
};

TEST_F(ChatTemplateFiles, TheFlagComesBeforeTheFileAndThatBeforeTheConfiguration) {
  EXPECT_EQ(chosen(""), "none");

  write("tokenizer_config.json", to_json(config_with(Json::string("configured"))));
  EXPECT_EQ(chosen(""), "configured");
  EXPECT_EQ(chosen("", true), "none");

  write("chat_template.jinja", "in a file");
  EXPECT_EQ(chosen(""), "in a file");

  const std::string named = write("own.jinja", "named {{ bos_token }}");
  EXPECT_EQ(chosen(named), "named <s>");
  EXPECT_EQ(chosen(named, true), "named <s>");
}

TEST_F(ChatTemplateFiles, TheFlagsFileIsReadAsSglangDoes) {
  const std::string named = write("own.jinja", "\n\n{{ 'a\\nb' }}\\nc\n\n");

  EXPECT_EQ(chosen(named), "a\nb\nc");
}

TEST_F(ChatTemplateFiles, TheFlagRefusesWhatItCannotRead) {
  EXPECT_THAT(chosen("chatml"), HasSubstr("--chat-template chatml: there is no such file"));
  EXPECT_THAT(chosen(write("own.json", "{}")), HasSubstr("expected a file named .jinja"));
  EXPECT_THAT(chosen(write("bad.jinja", "{% if %}")), HasSubstr("bad.jinja: line 1"));
  write("chat_template.jinja", "{{");
  EXPECT_THAT(chosen(""), HasSubstr("--chat-template names another"));
}

}  // namespace

}  // namespace fathom::text
