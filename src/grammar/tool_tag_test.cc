#include "grammar/tool_tag.h"

#include <random>
#include <string_view>

#include <gtest/gtest.h>

#include "grammar/compiler.h"
#include "grammar/grammar_testing.h"

namespace fathom::grammar {
namespace {

using Mode = ToolChoice::Mode;

std::vector<ToolSchema> tools() {
  return {{.name = "get_weather",
           .parameters = *parse_json(R"({"type":"object","properties":{"city":{"type":"string"},
               "days":{"type":"integer"}},"required":["city"]})"),
           .strict = true},
          {.name = "stop", .parameters = {}, .strict = true},
          {.name = "free", .parameters = {}, .strict = false}};
}

class ToolTags : public testing::Test {
 protected:
  std::shared_ptr<const Grammar> make(const ToolChoice& choice) {
    return compiled(*compiler_, {Kind::kStructuralTag, *tool_call_tag(tools(), choice)});
  }

  CompilerOptions options_ = byte_vocabulary(
      {"<｜DSML｜", "</｜DSML｜", "function_calls>", "invoke", "parameter", " name=\"", "\n\n"});
  std::unique_ptr<Compiler> compiler_ = std::move(Compiler::create(options_)).value();
};

constexpr const char* kCall =
    "<｜DSML｜invoke name=\"get_weather\">\n"
    "<｜DSML｜parameter name=\"city\" string=\"true\">Oslo</｜DSML｜parameter>\n"
    "<｜DSML｜parameter name=\"days\" string=\"false\">3</｜DSML｜parameter>\n"
    "</｜DSML｜invoke>\n";
const std::string kBegin = "<｜DSML｜function_calls>\n";
const std::string kEnd = "</｜DSML｜function_calls>";

TEST_F(ToolTags, RequiredIsABlockOfCalls) {
  const auto grammar = make({.mode = Mode::kRequired});
  EXPECT_TRUE(takes(*grammar, options_, "\n\n" + kBegin + kCall + kEnd));
  EXPECT_TRUE(takes(*grammar, options_, "\n\n" + kBegin + kCall + kCall + kEnd));
  EXPECT_FALSE(takes(*grammar, options_, "\n\n" + kBegin + kEnd));
  EXPECT_FALSE(takes(*grammar, options_, "text"));
  const auto one = make({.mode = Mode::kRequired, .parallel = false});
  EXPECT_TRUE(takes(*one, options_, "\n\n" + kBegin + kCall + kEnd));
  EXPECT_FALSE(takes(*one, options_, "\n\n" + kBegin + kCall + kCall + kEnd));
}

TEST_F(ToolTags, NamedIsOneCallOfThatTool) {
  const auto grammar = make({.mode = Mode::kNamed, .name = "stop"});
  const std::string call = "<｜DSML｜invoke name=\"stop\">\n</｜DSML｜invoke>\n";
  EXPECT_TRUE(takes(*grammar, options_, "\n\n" + kBegin + call + kEnd));
  EXPECT_FALSE(takes(*grammar, options_, "\n\n" + kBegin + call + call + kEnd));
  EXPECT_FALSE(takes(*grammar, options_, "\n\n" + kBegin + kCall + kEnd));
}

TEST_F(ToolTags, AutoIsTextPerhapsWithABlock) {
  const auto grammar = make({});
  EXPECT_TRUE(takes(*grammar, options_, "Hello < you"));
  EXPECT_TRUE(takes(*grammar, options_, "Let me see.\n\n" + kBegin + kCall + kCall + kEnd));
  EXPECT_FALSE(takes(*grammar, options_, "Let me see.\n\n" + kBegin + "oops" + kEnd));
  EXPECT_FALSE(takes(*grammar, options_, "a</think>b"));
}

// Takes `prefix` off the front of `rest`.
bool eat(std::string_view& rest, std::string_view prefix) {
  if (!rest.starts_with(prefix)) return false;
  rest.remove_prefix(prefix.size());
  return true;
}

bool eat_through(std::string_view& rest, std::string_view end) {
  const std::size_t at = rest.find(end);
  if (at == std::string_view::npos) return false;
  rest.remove_prefix(at + end.size());
  return true;
}

void eat_blanks(std::string_view& rest) {
  while (!rest.empty() && std::string_view(" \t\r\n").find(rest[0]) != std::string_view::npos) {
    rest.remove_prefix(1);
  }
}

bool is_block(std::string_view rest) {
  if (!eat(rest, "\n\n" + kBegin)) return false;
  int calls = 0;
  for (; eat(rest, "<｜DSML｜invoke name=\""); ++calls) {
    if (!eat(rest, "get_weather\">\n") && !eat(rest, "stop\">\n") && !eat(rest, "free\">\n")) {
      return false;
    }
    for (eat_blanks(rest); eat(rest, "<｜DSML｜parameter name=\""); eat_blanks(rest)) {
      if (!eat_through(rest, "\" string=\"")) return false;
      if (!eat(rest, "true\">") && !eat(rest, "false\">")) return false;
      if (!eat_through(rest, "</｜DSML｜parameter>")) return false;
    }
    if (!eat(rest, "</｜DSML｜invoke>\n")) return false;
  }
  return calls > 0 && rest == kEnd;
}

TEST_F(ToolTags, WalksAreWellFormedCalls) {
  std::mt19937 random(4);
  const auto grammar = make({.mode = Mode::kRequired});
  int finished = 0;
  for (int i = 0; i < 20; ++i) {
    const auto matcher = grammar->new_matcher();
    const auto text = random_walk(*matcher, options_, random, 200);
    if (!text || text->size() > 4000) continue;
    ++finished;
    EXPECT_TRUE(is_block(*text)) << *text;
  }
  EXPECT_GE(finished, 3);
}

TEST(ToolTag, RefusesWhatCannotBeWritten) {
  EXPECT_EQ(tool_call_tag({}, {}).status().message(), "there are no tools");
  const std::vector<ToolSchema> odd{{.name = "a\"b", .parameters = {}, .strict = false}};
  EXPECT_FALSE(tool_call_tag(odd, {}).ok());
  std::vector<ToolSchema> twice = tools();
  twice.push_back(twice[0]);
  EXPECT_EQ(tool_call_tag(twice, {}).status().message(), "tool \"get_weather\" is given twice");
  EXPECT_EQ(tool_call_tag(tools(), {.mode = Mode::kNamed, .name = "x"}).status().message(),
            "tool \"x\" is not among the tools");
}

}  // namespace
}  // namespace fathom::grammar
