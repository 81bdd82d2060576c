#include "text/jinja/template.h"

#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fathom::text::jinja {

namespace {

using testing::HasSubstr;

std::string render(std::string_view source, std::string_view variables = "{}") {
  const Result<Template> parsed = Template::parse(source);
  if (!parsed.ok()) return "parse: " + parsed.status().message();
  const Result<std::string> text = parsed->render(parse_json(variables).value());
  return text.ok() ? *text : "render: " + text.status().message();
}

std::string refusal(std::string_view source, const Limits& limits) {
  const Result<Template> parsed = Template::parse(source, limits);
  if (!parsed.ok()) return parsed.status().message();
  const Result<std::string> text = parsed->render(Json::object(), limits);
  return text.ok() ? "rendered" : text.status().message();
}

std::string repeated(std::string_view text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

TEST(JinjaTemplate, TagsTakeTheirLineEndAndTheBlanksBeforeThem) {
  EXPECT_EQ(render("a\n  {% if true %}\n  b\n  {% endif %}\nc\n"), "a\n  b\nc");
  EXPECT_EQ(render("a  {{- 1 -}}  b {%+ if true %}\nc{% endif %}"), "a1b c");
  EXPECT_EQ(render("x {# note #}\n y"), "x  y");
  EXPECT_EQ(render("{% raw %}{{ x }}{% endraw %}"), "{{ x }}");
}

// As Python's str() of a list spells them.
TEST(JinjaTemplate, AListSpellsWhatCannotBeSeenInItsTexts) {
  EXPECT_EQ(
      render("{{ [x] }}",
             R"({"x": "\u0000\u0001\u001f\u007f\u0085\u00a0\u00ad\u2028 ~\u00e9\udb40\udc01"})"),
      R"(['\x00\x01\x1f\x7f\x85\xa0\xad\u2028 ~é\U000e0001'])");
}

TEST(JinjaTemplate, LoopsKnowWhereTheyAre) {
  EXPECT_EQ(render("{% for x in xs %}{{ loop.index }}{{ x }}{{ ',' if not loop.last }}{% else %}-"
                   "{% endfor %}",
                   R"({"xs": ["a", "b"]})"),
            "1a,2b");
  EXPECT_EQ(render("{% for k, v in d.items() if v %}{{ k }}{% endfor %}", R"({"d":{"a":0,"b":1}})"),
            "b");
  EXPECT_EQ(
      render("{% for x in [1, 2, 3] %}{% if x == 2 %}{% break %}{% endif %}{{ x }}{% endfor %}"),
      "1");
}

TEST(JinjaTemplate, AssignmentsStayInTheirLoopUnlessANamespaceCarriesThem) {
  EXPECT_EQ(render("{% set x = 0 %}{% set n = namespace(x=0) %}{% for i in [1, 2] %}"
                   "{% set x = i %}{% set n.x = n.x + i %}{% endfor %}{{ x }}{{ n.x }}"),
            "03");
}

TEST(JinjaTemplate, MacrosReturnTextAndSeeWhereTheyWereMade) {
  EXPECT_EQ(render("{% for a in [1, 2] %}{% macro m(b=3) %}{{ a }}{{ b }};{% endmacro %}{{ m() }}"
                   "{{ m(4) | upper }}{% endfor %}"),
            "13;14;23;24;");
}

// A macro taken out of the loop it was made in still finds that loop's variables.
TEST(JinjaTemplate, AMacroOutlivesItsLoop) {
  EXPECT_EQ(render("{% set n = namespace() %}{% for a in [1, 2] %}{% macro m() %}{{ a }}"
                   "{% endmacro %}{% set n.m = m %}{% endfor %}{{ n.m() }}"),
            "2");
}

TEST(JinjaTemplate, TojsonIsPythonsJsonWithoutEscapes) {
  EXPECT_EQ(render("{{ v | tojson }}", R"({"v":{"é<":[1e2,12345678901234567890,null,"a\n"]}})"),
            R"({"é<": [100.0, 12345678901234567890, null, "a\n"]})");
  EXPECT_EQ(render("{{ {'a': [1, {}]} | tojson(indent=2) }}"),
            "{\n  \"a\": [\n    1,\n    {}\n  ]\n}");
}

TEST(JinjaTemplate, MistakesNameTheirLine) {
  EXPECT_THAT(render("\n\n{% if x %}"), HasSubstr("line 3"));
  EXPECT_THAT(render("a\n{{ 1 + }}"), HasSubstr("parse: line 2: expected an expression"));
  EXPECT_THAT(render("{# \n #}\n{{ x.y }}"), HasSubstr("render: line 3: \"x\" is undefined"));
  EXPECT_THAT(render("\n{{ raise_exception('roles must ' ~ 'alternate') }}"),
              HasSubstr("line 2: roles must alternate"));
  EXPECT_THAT(render("{% include 'file' %}"), HasSubstr("\"include\" is not supported"));
  EXPECT_THAT(render("{{ [1].append(2) }}"), HasSubstr("would change a list"));
  EXPECT_THAT(render("\xff"), HasSubstr("not UTF-8 at byte 0"));
}

TEST(JinjaTemplate, CallsWithWrongArgumentsFail) {
  for (const std::string_view call :
       {"raise_exception('a', 'b')", "raise_exception(text='a')", "strftime_now('%Y', 1)",
        "'a'.startswith('a', x=1)", "'a'.startswith(x=1)", "'a' | replace(x=1)", "1 | attr(x=1)",
        "1 is eq(1, 2)", "1 is divisibleby(x=1)", "[1] | map(x='y') | list", "range(x=1)",
        "{}.get(x=1)", "[1].index(x=1)", "1 is sameas(1, 2)"}) {
    const std::string source = "{{ " + std::string(call) + " }}";
    EXPECT_THAT(render(source), HasSubstr("render: line 1: ")) << call;
  }
}

// Neither is the em space read as white space around a number, nor beyond the text's end.
TEST(JinjaTemplate, EscapesThatAreNoCharactersAreRefused) {
  EXPECT_THAT(render("{{ '\\x\u2003' }}"), HasSubstr("parse: line 1: \"\\x\""));
  EXPECT_THAT(render("{{ '\\u 12 ' }}"), HasSubstr("parse: line 1: \"\\u\""));
  EXPECT_EQ(render("{{ '\\x41\\u00e9' }}"), "Aé");
}

TEST(JinjaTemplate, ALaterFailureDoesNotHideTheFirst) {
  EXPECT_THAT(render("{{ missing.first }}\n{{ 1 / 0 }}"), HasSubstr("\"missing\" is undefined"));
}

TEST(JinjaLimits, EveryOneIsToldByItsName) {
  EXPECT_THAT(refusal("abcdef", {.max_source_bytes = 5}), HasSubstr("6 bytes, the limit is 5"));
  EXPECT_THAT(refusal("{{ [[[1]]] }}", {.max_nesting = 5}), HasSubstr("more than 5 brackets"));
  EXPECT_THAT(refusal("{% for i in range(1000) %}{% endfor %}", {.max_operations = 500}),
              HasSubstr("more than 500 steps"));
  EXPECT_THAT(refusal("{{ 'abc' * 5 }}", {.max_output_bytes = 14}), HasSubstr("longer than 14"));
  EXPECT_THAT(refusal("{{ range(11) | list }}", {.max_range = 10}), HasSubstr("the limit is 10"));
  EXPECT_THAT(refusal("{{ range(100) | list }}", {.max_memory_bytes = 1000}),
              HasSubstr("1000 bytes of memory"));
  // Texts that are still being written count, too.
  EXPECT_THAT(refusal("{% set t = 'a' * 4000000 %}{% macro m(n) %}{{ t }}{% if n %}"
                      "{% set inner = m(n - 1) %}{% else %}{{ raise_exception('deep') }}{% endif %}"
                      "{% endmacro %}{{ m(20) }}",
                      {.max_memory_bytes = 32 << 20}),
              HasSubstr("bytes of memory"));
  EXPECT_THAT(refusal("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", {}),
              HasSubstr("inside each other"));
}

// What would take minutes, gigabytes or the whole stack is refused soon.
TEST(JinjaLimits, HostileTemplatesEndSoon) {
  const Limits small{
      .max_operations = 300'000, .max_output_bytes = 8 << 20, .max_memory_bytes = 32 << 20};
  const std::string nines = repeated("9", 18);
  const std::vector<std::string> sources{
      "{{ " + repeated("(", 20000),
      "{{ " + repeated("-", 20000) + "1 }}",
      "{{ 1" + repeated("|abs", 20000) + " }}",
      "{{ x" + repeated(".y", 20000) + " }}",
      "{{ 1" + repeated(" if 1", 20000) + " }}",
      "{{ " + repeated("not ", 20000) + "1 }}",
      repeated("{% if 1 %}", 20000),
      "{% set " + repeated("(", 20000) + "a",
      "{{ 'ab' * " + nines + " }}",
      "{{ [0] * " + nines + " }}",
      "{{ range(" + nines + ") }}",
      "{{ 10 ** 19 }}",
      "{{ 'x'.replace('', 'a' * 6000000) }}",
      "{{ ('a' * 6000000).split('a') | length }}",
      std::string("{% set n = namespace(x='x') %}{% for i in range(20000) %}"
                  "{% set n.x = n.x ~ n.x %}{% endfor %}"),
      std::string("{% set n = namespace(x=[]) %}{% for i in range(20000) %}"
                  "{% set n.x = [n.x] %}{% endfor %}"),
      std::string("{% set n = namespace(x=[]) %}{% for i in range(20000) %}"
                  "{% for j in [n.x] %}{% set n.x = loop %}{% endfor %}{% endfor %}"),
      std::string("{% set n = namespace(x=[1]) %}{% for i in range(60) %}"
                  "{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}"),
      std::string("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}"
                  "{% endfor %}"),
      std::string("{% macro m(f) %}{{ f(f) }}{% endmacro %}{{ m(m) }}"),
      std::string("{% set n = namespace(x=(1,)) %}{% for i in range(60) %}"
                  "{% set n.x = (n.x, n.x) %}{% endfor %}{{ {n.x: 1} }}"),
      std::string("{% set t = 'a' * 2000000 %}{% for i in range(1000) %}"
                  "{{ ('a' * 1000000 ~ 'b') in t }}{% endfor %}"),
  };
  for (const std::string& source : sources) {
    EXPECT_NE(refusal(source, small), "rendered") << source.substr(0, 80);
  }
}

TEST(JinjaLimits, LongFlatExpressionsAreNoNesting) {
  EXPECT_EQ(render("{{ 1" + repeated(" + 1", 5000) + " }}"), "5001");
  EXPECT_EQ(render("{{ 'a'" + repeated(" ~ 'a'", 3) + " }}"), "aaaa");
  EXPECT_EQ(render("{% if 0 %}" + repeated("{% elif 0 %}", 5000) + "{% else %}x{% endif %}"), "x");
}

TEST(JinjaTemplate, OneTemplateServesManyThreads) {
  const Template parsed =
      Template::parse("{% for x in xs %}{{ x ~ 'é' }}{% endfor %}{{ xs | tojson }}").value();
  const Json variables = parse_json(R"({"xs": [1, 2, "three"]})").value();
  const std::string expected = parsed.render(variables).value();
  std::vector<std::string> texts(4);
  std::vector<std::thread> threads;
  threads.reserve(texts.size());

  for (std::string& text : texts) {
    threads.emplace_back([&parsed, &variables, &text] {
      for (int i = 0; i < 20; ++i) text = parsed.render(variables).value();
    });
  }
  for (std::thread& thread : threads) thread.join();

  for (const std::string& text : texts) EXPECT_EQ(text, expected);
}

TEST(JinjaTemplate, KnowsWhetherItReadsContentParts) {
  EXPECT_TRUE(Template::parse("{% for m in messages %}{% if x %}{% for p in m['content'] %}"
                              "{% endfor %}{% endif %}{% endfor %}")
                  .value()
                  .reads_content_parts());
  EXPECT_FALSE(Template::parse("{% for m in messages %}{{ m.content }}{% endfor %}")
                   .value()
                   .reads_content_parts());
}

}  // namespace

}  // namespace fathom::text::jinja
