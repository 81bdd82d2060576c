// DeepSeek's conversations and what its encoder makes of them (tests/data/text.tar.xz).

#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include <gtest/gtest.h>

#include "text/chat_encoding.h"
#include "text/chat_markers.h"

namespace fathom::text {
namespace {

std::string contents(const std::string& name) {
  std::ifstream in(std::string(FATHOM_TEST_DATA) + "/text/dsv32_encoding/" + name,
                   std::ios::binary);
  EXPECT_TRUE(in.good()) << name;
  return {std::istreambuf_iterator<char>(in), {}};
}

// `input`'s tools, where it has any, belong to its first message.
std::string encoded(const std::string& input) {
  Json json = parse_json(contents(input)).value();
  std::vector<Json> messages = *json.find("messages")->as_array();
  if (const Json* const tools = json.find("tools")) messages.front().set("tools", *tools);
  return encode_chat(messages, {.thinking = true}).value();
}

TEST(ChatEncodingVectors, PublishedConversations) {
  for (const std::string name : {"", "_search_w_date", "_search_wo_date"}) {
    EXPECT_EQ(encoded("test_input" + name + ".json"), contents("test_output" + name + ".txt"));
  }
}

TEST(ChatEncodingVectors, ToolsBlocks) {
  for (const bool official : {true, false}) {
    std::string block;
    append_tools_block(block, "{tool_schemas}", official);
    EXPECT_EQ(block, contents(official ? "tools_block_official.txt" : "tools_block_compact.txt"));
  }
}

// Where the recorded encoder shows what happens to be in Python rather than a rule: a null content
// is the text "None" there, and an earlier developer's message makes it fail when thoughts are
// dropped. Here null is empty, as servers make it before, and every message is kept.
const std::map<std::string, std::string>& other_than_recorded() {
  static const std::map<std::string, std::string> cases{
      {"user content null [chat]", "<｜begin▁of▁sentence｜><｜User｜><｜Assistant｜></think>"},
      {"user content null [thinking]", "<｜begin▁of▁sentence｜><｜User｜><｜Assistant｜><think>"},
      {"thinking: developer drops earlier developer",
       "<｜begin▁of▁sentence｜><｜User｜>\n\n# The user's message is: one<｜Assistant｜></think>a"
       "<｜end▁of▁sentence｜><｜User｜>\n\n# The user's message is: two<｜Assistant｜><think>"},
  };
  return cases;
}

TEST(ChatEncodingVectors, SmallCases) {
  std::size_t others = 0;
  const Json cases = parse_json(contents("small_cases.json")).value();
  ASSERT_EQ(cases.as_array()->size(), 53U);
  for (const Json& each : *cases.as_array()) {
    SCOPED_TRACE(*each.find("name")->as_string());
    ChatEncodingOptions options;
    options.thinking = *each.find("thinking_mode")->as_string() == "thinking";
    options.begin = *each.find("add_default_bos_token")->as_bool();
    std::vector<Json> messages;
    if (const Json* const context = each.find_set("context")) messages = *context->as_array();
    options.first_message = messages.size();
    const Json::Array& shown = *each.find("messages")->as_array();
    messages.insert(messages.end(), shown.begin(), shown.end());

    const Result<std::string> prompt = encode_chat(messages, options);
    const auto other = other_than_recorded().find(*each.find("name")->as_string());
    if (other != other_than_recorded().end()) {
      ++others;
      EXPECT_EQ(prompt.value(), other->second);
    } else if (*each.find("expected_error")->as_bool()) {
      EXPECT_FALSE(prompt.ok()) << *prompt;
    } else {
      ASSERT_TRUE(prompt.ok()) << prompt.status().message();
      EXPECT_EQ(*prompt, *each.find("expected")->as_string());
    }
  }
  EXPECT_EQ(others, other_than_recorded().size());
}

}  // namespace
}  // namespace fathom::text
