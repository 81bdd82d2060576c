// Comparison with Python's Jinja, output for output: where one refuses, the other does.

#include <cstdint>
#include <cstdlib>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "text/jinja/template.h"
#include "text/jinja/template_testing.h"

namespace fathom::text::jinja {

namespace {

// Ours, and in `why` the reason when it refuses.
std::optional<std::string> render(const Rendering& rendering, std::string& why) {
  const Result<Template> parsed = Template::parse(rendering.source);
  const Result<std::string> text =
      parsed.ok() ? parsed->render(rendering.variables) : Result<std::string>(parsed.status());
  if (text.ok()) return *text;
  why = text.status().message();
  return std::nullopt;
}

std::string shown(const std::optional<std::string>& text) {
  return text ? "\"" + *text + "\"" : "a refusal";
}

// Snippets that are in Jinja and not in the subset say "subset": "refuses".
TEST(JinjaOracle, SnippetsOfEveryFeatureRenderAsInPython) {
  const Json variables = parse_json(test_file("variables.json")).value();
  std::vector<Rendering> renderings;
  std::vector<bool> outside;
  std::istringstream lines(test_file("snippets.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    const Json snippet = parse_json(line).value();
    renderings.push_back({*snippet.find("template")->as_string(), variables});
    outside.push_back(snippet.find("subset") != nullptr);
  }

  const std::vector<std::optional<std::string>> expected = render_in_python(renderings);

  for (std::size_t i = 0; i < renderings.size(); ++i) {
    std::string why;
    const std::optional<std::string> text = render(renderings[i], why);
    if (outside[i]) {
      EXPECT_TRUE(expected[i].has_value() && !text) << renderings[i].source;
      continue;
    }
    EXPECT_TRUE(text == expected[i])
        << "template: " << renderings[i].source << "\nPython:   " << shown(expected[i])
        << "\nours:     " << shown(text) << " " << why;
  }
}

// Conversations, drawn with a fixed seed.
class Conversations {
 public:
  explicit Conversations(std::uint64_t seed) : random_(seed) {}

  Json variables() {
    Json made = Json::object();
    made.set("messages", messages());
    if (one_in(2)) made.set("tools", one_in(3) ? Json() : tools());
    if (!one_in(5)) made.set("add_generation_prompt", Json::boolean(!one_in(4)));
    made.set("bos_token", Json::string("<｜begin▁of▁sentence｜>"));
    made.set("eos_token", Json::string("<｜end▁of▁sentence｜>"));
    if (one_in(2)) made.set("thinking", Json::boolean(one_in(2)));
    if (one_in(4)) made.set("enable_thinking", Json::boolean(one_in(2)));
    return made;
  }

 private:
  bool one_in(std::uint64_t n) { return random_() % n == 0; }
  template <std::size_t N>
  std::string one_of(const char* const (&texts)[N]) {
    return texts[random_() % N];
  }
  std::string text() {
    static constexpr const char* kTexts[] = {
        "",         "Hello",           "  blanks \n", "你好，世界 🎉",       "a<think>b</think>c",
        "</think>", "{{ not a tag }}", "\"quoted\"",  "<result>7</result>", "line\n\nline"};
    return one_of(kTexts);
  }
  Json arguments() {
    static constexpr const char* kArguments[] = {
        "{}", R"({"city": "Paris"})", R"({"a":[1,2.50,null,true],"b":{"c":"é\n"}})", "no JSON"};
    const std::string spelled = one_of(kArguments);
    const Result<Json> parsed = parse_json(spelled);
    return parsed.ok() && one_in(3) ? *parsed : Json::string(spelled);
  }
  Json tool_calls() {
    Json::Array calls;
    for (std::uint64_t i = random_() % 3; i > 0; --i) {
      Json function = Json::object();
      function.set("name", Json::string("weather"));
      function.set("arguments", arguments());
      Json call = Json::object();
      call.set("type", Json::string("function"));
      call.set("function", std::move(function));
      calls.push_back(std::move(call));
    }
    return Json::array(std::move(calls));
  }
  Json content() {
    if (one_in(12)) return {};
    if (!one_in(12)) return Json::string(text());
    Json part = Json::object();
    part.set("type", Json::string(one_in(4) ? "image_url" : "text"));
    part.set("text", Json::string(text()));
    return Json::array({part, part});
  }
  Json messages() {
    static constexpr const char* kRoles[] = {"user", "user",      "assistant", "assistant",
                                             "tool", "assistant", "system",    "user"};
    Json::Array made;
    if (one_in(2)) made.push_back(message("system"));
    for (std::uint64_t i = random_() % 6; i > 0; --i) made.push_back(message(one_of(kRoles)));
    if (one_in(20)) made.push_back(message("narrator"));
    return Json::array(std::move(made));
  }
  Json message(const std::string& role) {
    Json made = Json::object();
    made.set("role", Json::string(role));
    made.set("content", content());
    if (role == "assistant" && one_in(3)) made.set("tool_calls", tool_calls());
    if (role == "assistant" && one_in(6)) made.set("prefix", Json::boolean(one_in(2)));
    if (role == "assistant" && one_in(4)) made.set("reasoning_content", Json::string(text()));
    return made;
  }
  Json tools() {
    return parse_json(R"([{"type": "function", "function": {"name": "weather",
      "description": "Weather of a <city>", "parameters": {"type": "object", "properties":
      {"city": {"type": "string", "enum": ["Paris", "東京"]}}, "required": ["city"]}}},
      {"type": "function", "function": {"name": "now", "description": null, "parameters": {}}}])")
        .value();
  }

  std::mt19937_64 random_;
};

// The drawn sizes are for a run of seconds; FATHOM_TEST_ALL=1 asks for many more.
std::size_t count(std::size_t quick) {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): one thread
  const char* const all = std::getenv("FATHOM_TEST_ALL");
  return all != nullptr && std::string(all) == "1" ? 30 * quick : quick;
}

class JinjaTemplates : public testing::TestWithParam<const char*> {};

TEST_P(JinjaTemplates, RenderRandomConversationsAsInPython) {
  const std::string source = test_file(GetParam());
  Conversations conversations(20);
  std::vector<Rendering> renderings;
  for (std::size_t i = 0; i < count(400); ++i) {
    renderings.push_back({source, conversations.variables()});
  }

  const std::vector<std::optional<std::string>> expected = render_in_python(renderings);

  std::size_t rendered = 0;
  for (std::size_t i = 0; i < renderings.size(); ++i) {
    std::string why;
    const std::optional<std::string> text = render(renderings[i], why);
    rendered += text.has_value() ? 1 : 0;
    EXPECT_TRUE(text == expected[i])
        << to_json(renderings[i].variables) << "\nPython: " << shown(expected[i])
        << "\nours:   " << shown(text) << " " << why;
  }
  EXPECT_GT(rendered, renderings.size() / 2) << "most conversations fit the template";
}

INSTANTIATE_TEST_SUITE_P(Files,
                         JinjaTemplates,
                         testing::Values("deepseek_v31.jinja",
                                         "like_v3.jinja",
                                         "like_r1.jinja",
                                         "like_v32_exp.jinja",
                                         "like_parts.jinja"));

// Expressions, drawn with a fixed seed.
class Expressions {
 public:
  explicit Expressions(std::uint64_t seed) : random_(seed) {}

  // NOLINTNEXTLINE(misc-no-recursion): `depth` counts down
  std::string draw(int depth) {
    if (depth == 0) return leaf();
    const auto inner = [&] { return draw(depth - 1); };
    switch (random_() % 12) {
      case 0:
        return "(" + inner() + " " + binary() + " " + inner() + ")";
      case 1:
        return inner() + " " + binary() + " " + inner();
      case 2:
        return "(" + inner() + ")" + filter();
      case 3:
        return leaf() + filter() + filter();
      case 4:
        return "(" + inner() + " is " + test() + ")";
      case 5:
        return "[" + inner() + ", " + inner() + "]";
      case 6:
        return "{'k': " + inner() + ", " + key() + ": 1}";
      case 7:
        return "(" + inner() + ")" + subscript();
      case 8:
        return "(" + inner() + " if " + inner() + " else " + inner() + ")";
      case 9:
        return "(not " + inner() + ")";
      case 10:
        return "(" + inner() + ")" + method();
      default:
        return "-" + leaf() + filter();
    }
  }

 private:
  template <std::size_t N>
  std::string one_of(const char* const (&texts)[N]) {
    return texts[random_() % N];
  }
  std::string leaf() {
    static constexpr const char* kLeaves[] = {
        "1",        "0",        "-3",    "2.5",   "'a'", "'Hello World'", "''",    "none",
        "true",     "xs",       "names", "d",     "s",   "missing",       "users", "[]",
        "{}",       "(1, 'b')", "ws",    "'é🎉ß'", "big", "messages",      "'1.5'", "'12'",
        "range(3)", "lines",    "1000"};
    return one_of(kLeaves);
  }
  std::string key() {
    static constexpr const char* kKeys[] = {"1",       "'a'", "none",   "s",
                                            "missing", "2.5", "(1, s)", "big"};
    return one_of(kKeys);
  }
  std::string binary() {
    static constexpr const char* kOperators[] = {"+",  "-",   "*",  "/",  "//",    "%",
                                                 "~",  "==",  "!=", "<",  "<=",    ">",
                                                 ">=", "and", "or", "in", "not in"};
    return one_of(kOperators);
  }
  std::string filter() {
    static constexpr const char* kFilters[] = {"|length",
                                               "|list",
                                               "|string",
                                               "|upper",
                                               "|title",
                                               "|trim",
                                               "|first",
                                               "|last",
                                               "|sort",
                                               "|join('-')",
                                               "|tojson",
                                               "|int",
                                               "|float",
                                               "|abs",
                                               "|sum",
                                               "|default(7)",
                                               "|reverse",
                                               "|unique|list",
                                               "|min",
                                               "|max",
                                               "|capitalize",

                                               "|items|list",
                                               "|map('string')|list",
                                               "|select|list",
                                               "|indent(2)",
                                               "|round(1)",
                                               "|replace('a', 'bb')",
                                               "|dictsort",
                                               "|map(attribute='name')|list",
                                               "|tojson(indent=1)"};
    return one_of(kFilters);
  }
  std::string test() {
    static constexpr const char* kTests[] = {
        "defined", "none",     "string",        "number",  "mapping",  "iterable",
        "odd",     "sequence", "boolean",       "integer", "float",    "eq(1)",
        "in(xs)",  "lower",    "not undefined", "true",    "callable", "gt(0)"};
    return one_of(kTests);
  }
  std::string subscript() {
    static constexpr const char* kSubscripts[] = {"[0]",    "[-1]", "['k']",  "[1:]",
                                                  "[::-1]", "[:2]", "['b']",  ".k",
                                                  ".b",     "[99]", "[none]", "[2:0:-1]"};
    return one_of(kSubscripts);
  }
  std::string method() {
    static constexpr const char* kMethods[] = {
        ".upper()",          ".split()",      ".split('l', 1)", ".strip()",    ".items()|list",
        ".get('b')",         ".keys()|list",  ".title()",       ".count('a')", ".startswith('H')",
        ".replace('l', '')", ".splitlines()", ".append(1)",     ".index('a')", ".rsplit(none, 1)"};
    return one_of(kMethods);
  }

  std::mt19937_64 random_;
};

// What Python computes and the subset says that it does not.
bool outside_the_subset(const std::string& why) {
  for (const char* const reason : {"passes 64 bits", "has no text", "past 64 bits", "gets longer",
                                   "formatting with %", "bytes of memory", "has no slices"}) {
    if (why.find(reason) != std::string::npos) return true;
  }
  return false;
}

TEST(JinjaOracle, RandomExpressionsHaveTheirValueInPython) {
  const Json variables = parse_json(test_file("variables.json")).value();
  Expressions expressions(6);
  std::vector<Rendering> renderings;
  for (std::size_t i = 0; i < count(3000); ++i) {
    std::string source = "{{ " + expressions.draw(1 + static_cast<int>(i % 3)) + " }}";
    // No texts of megabytes.
    if (source.find("1000 *") != std::string::npos || source.find("* 1000") != std::string::npos) {
      continue;
    }
    renderings.push_back({std::move(source), variables});
  }

  const std::vector<std::optional<std::string>> expected = render_in_python(renderings);

  std::size_t rendered = 0;
  for (std::size_t i = 0; i < renderings.size(); ++i) {
    std::string why;
    const std::optional<std::string> text = render(renderings[i], why);
    if (!text && outside_the_subset(why)) continue;
    rendered += text.has_value() ? 1 : 0;
    EXPECT_TRUE(text == expected[i])
        << "template: " << renderings[i].source << "\nPython:   " << shown(expected[i])
        << "\nours:     " << shown(text) << " " << why;
  }
  EXPECT_GT(rendered, renderings.size() / 4);
}

}  // namespace

}  // namespace fathom::text::jinja
