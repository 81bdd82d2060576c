#include <chrono>

#include <gtest/gtest.h>

#include "grammar/compiler.h"
#include "grammar/grammar_testing.h"

namespace fathom::grammar {
namespace {

class Refusals : public testing::Test {
 protected:
  std::string why(Kind kind, const std::string& text) {
    const auto result = compile_now(*compiler_, {kind, text});
    if (result.ok()) return "taken";
    EXPECT_EQ(result.status().code(), Code::kInvalidArgument);
    return result.status().message();
  }
  std::string schema(const std::string& text) { return why(Kind::kJsonSchema, text); }
  // Whether it is refused at this place.
  void expect_at(const std::string& place, const std::string& text) {
    EXPECT_TRUE(schema(text).starts_with("schema at " + place + ": ")) << text << "\n"
                                                                       << schema(text);
  }

  // What a source costs is bounded in processor time, which a busy machine does not shorten.
  static CompilerOptions patient() {
    CompilerOptions options = byte_vocabulary();
    options.max_wait = std::chrono::minutes(30);
    return options;
  }
  std::unique_ptr<Compiler> compiler_ = std::move(Compiler::create(patient())).value();
};

TEST_F(Refusals, SayWhereASchemaIsWrong) {
  EXPECT_TRUE(schema("{\"type\":").starts_with("schema: not valid JSON at byte "));
  EXPECT_EQ(schema("3"), "schema at its root: expected an object, was a number");
  EXPECT_EQ(schema(R"({"properties":{"a/b":{"type":"strin"}}})"),
            "schema at /properties/a~1b/type: \"strin\" is no type of JSON Schema");
  EXPECT_EQ(schema(R"({"properties":{"a":{"minItems":-1}}})"),
            "schema at /properties/a/minItems: expected an integer from 0 on");
  expect_at("/required/1", R"({"type":"object","properties":{"a":{}},"required":["a","b"]})");
  expect_at("/items/$ref", R"({"type":"array","items":{"$ref":"#/nowhere"}})");
  expect_at("/$ref", R"({"$ref":"other.json#/a"})");
  expect_at("/$ref", R"({"$ref":"#"})");
  expect_at("/$defs/a/not", R"({"$ref":"#/$defs/a","$defs":{"a":{"not":{}}}})");
  expect_at("/minLength", R"({"type":"string","minLength":5,"maxLength":4})");
  expect_at("/enum", R"({"type":"string","enum":[1,2]})");
  expect_at("/anyOf/1", R"({"anyOf":[{"type":"null"},false]})");
}

TEST_F(Refusals, NameKeywordsThatWouldNotBeEnforced) {
  for (const char* keyword : {"not", "if", "then", "dependentRequired", "contains"}) {
    expect_at(std::string("/") + keyword,
              R"({"type":"object",")" + std::string(keyword) + R"(":{}})");
  }
  expect_at("/uniqueItems", R"({"type":"array","uniqueItems":true})");
  expect_at("/allOf", R"({"allOf":[{"type":"string"},{"minLength":2}]})");
  expect_at("/oneOf", R"({"oneOf":[{"type":"number"},{"type":"integer"}]})");
  expect_at("/properties", R"({"anyOf":[{"type":"object"}],"properties":{"a":{}}})");
  expect_at("/pattern", R"({"type":"string","pattern":"a","minLength":2})");
  expect_at("/pattern", R"({"type":"string","pattern":"(?=a)b"})");
  expect_at("/pattern", R"({"type":"string","pattern":"a\\bc"})");
  expect_at("/pattern", R"({"type":"string","pattern":"\"x\""})");
  expect_at("/pattern", R"({"type":"string","pattern":"[^é]"})");
  expect_at("/pattern", R"({"type":"string","pattern":"("})");
  expect_at("/multipleOf", R"({"type":"number","multipleOf":0.1})");
  expect_at("/multipleOf", R"({"type":"integer","multipleOf":3,"minimum":0})");
  expect_at("/patternProperties", R"({"properties":{"a":{}},"patternProperties":{"b":{}}})");
  expect_at("/minProperties", R"({"type":"object","minProperties":2})");
}

TEST_F(Refusals, LetWellKnownFormsPass) {
  for (const char* text :
       {R"(true)",
        R"({"$schema":"x","title":"T","description":"d","type":"object","properties":{
               "a":{"anyOf":[{"type":"string"},{"type":"null"}],"default":null,"title":"A"},
               "b":{"allOf":[{"$ref":"#/$defs/B"}],"description":"x"},
               "c":{"const":"c","type":"string"}},"additionalProperties":false,
               "$defs":{"B":{"type":"integer","minimum":0,"multipleOf":5,"maximum":50}}})",
        R"({"oneOf":[{"$ref":"#/$defs/x"},{"$ref":"#/$defs/y"}],"discriminator":{},"$defs":{
               "x":{"type":"object","properties":{"k":{"const":"x"}},"required":["k"]},
               "y":{"type":"object","properties":{"k":{"const":"y"}},"required":["k"]}}})",
        R"({"type":"array","prefixItems":[true,{"type":"null"}],"items":false})",
        R"({"type":"object","patternProperties":{"^x_[a-z]+$":{"type":"integer"}}})",
        R"({"type":"object","propertyNames":{"maxLength":3},"additionalProperties":{}})",
        R"({"type":"object","additionalProperties":{"type":"number"},"minProperties":1})",
        R"({"type":"string","format":"email"})", R"({"type":"string","format":"ipv6"})",
        R"({"type":"string","format":"duration"})", R"({"type":"string","format":"other"})",
        R"({"type":"number","minimum":-0.5,"exclusiveMaximum":1000000})"}) {
    EXPECT_EQ(schema(text), "taken") << text;
  }
}

TEST_F(Refusals, ReadRegexesAndGrammars) {
  EXPECT_EQ(why(Kind::kRegex, "(?i)a"),
            "regex: at byte 0: groups that begin with (? are not supported, but for (?:");
  EXPECT_EQ(why(Kind::kRegex, "(?:a)[(?=]\\(?="), "taken");
  EXPECT_NE(why(Kind::kRegex, "(a"), "taken");
  EXPECT_NE(why(Kind::kRegex, "(a)\\1"), "taken");
  EXPECT_NE(why(Kind::kEbnf, "root ::= \"a"), "taken");
  EXPECT_NE(why(Kind::kEbnf, "start ::= \"a\""), "taken");
  EXPECT_NE(why(Kind::kEbnf, "root ::= unknown"), "taken");
  EXPECT_TRUE(why(Kind::kStructuralTag, "{").starts_with("structural tag: not valid JSON"));
  EXPECT_TRUE(
      why(Kind::kStructuralTag, R"({"type":"structural_tag"})").starts_with("structural tag: "));
  EXPECT_TRUE(why(Kind::kStructuralTag, R"({"format":{"type":"json_schema","json_schema":
                  {"not":{}}}})")
                  .starts_with("structural tag at /format/json_schema: schema at /not: "));
}

// Each of these would take long, or much memory, somewhere without its bound.
TEST_F(Refusals, BoundEverySource) {
  std::string nested;
  for (int i = 0; i < 100; ++i) nested += R"({"items":)";
  EXPECT_TRUE(schema(nested).starts_with("schema: "));
  EXPECT_NE(schema(std::string((1 << 20) + 1, ' ')), "taken");
  EXPECT_NE(why(Kind::kRegex, std::string(200, '(') + "a" + std::string(200, ')')), "taken");
  EXPECT_NE(why(Kind::kRegex, "a{100001}"), "taken");
  EXPECT_EQ(why(Kind::kRegex, "a{0,100000}"), "taken");
  EXPECT_NE(why(Kind::kRegex, "((a{0,99}){0,99}){0,99}"), "taken");
  EXPECT_NE(why(Kind::kRegex, "(a|(b{5000}c)){5000}"), "taken");
  EXPECT_NE(why(Kind::kEbnf, "root ::= a{0,999}\na ::= b{0,999}\nb ::= \"b\" {0,999}"), "taken");
  EXPECT_EQ(why(Kind::kEbnf, "root ::= a{3} \"{9999999}\"\na ::= [{1}] | \"x\" a # {9999999}"),
            "taken");
  expect_at("/maxItems", R"({"type":"array","maxItems":1000000})");
  expect_at("/maxLength", R"({"type":"string","maxLength":100001})");
  EXPECT_EQ(schema(R"({"type":"string","maxLength":100000})"), "taken");
  EXPECT_EQ(schema(R"({"type":"array","minItems":50000})"), "taken");
  EXPECT_NE(why(Kind::kStructuralTag,
                R"({"format":{"type":"repeat","min":0,"max":9999,"content":{"type":"repeat",
                    "min":0,"max":9999,"content":{"type":"const_string","value":"a"}}}})"),
            "taken");
  std::string many;
  for (int i = 0; i < 30; ++i) {
    many += R"("p)" + std::to_string(i) + R"(":{"pattern":"^(a{0,99}b){0,99}$"},)";
  }
  EXPECT_NE(schema(R"({"properties":{)" + many + R"("z":{}}})"), "taken");
  std::string wide = R"({"anyOf":[)";
  for (int i = 0; i < 20001; ++i) wide += "{},";
  EXPECT_NE(schema(wide + "{}]}"), "taken");
}

TEST_F(Refusals, RepeatNothingThatMayBeEmptyManyTimes) {
  for (const char* regex :
       {"(.?){0,100}", "(a*b?){9}", "(a|)*{5,}", "((a{0,9})|b){0,5}", "(^){9}"}) {
    EXPECT_TRUE(why(Kind::kRegex, regex).find("of what may be empty") != std::string::npos)
        << regex;
  }
  for (const char* regex :
       {"(.?){0,4}", "(a?b){0,100}", "(a|b){100}", "(a+){0,100}", "a?(b{1,9}c)"}) {
    EXPECT_EQ(why(Kind::kRegex, regex), "taken") << regex;
  }
  EXPECT_NE(why(Kind::kEbnf, "root ::= a{9}\na ::= b | \"x\"\nb ::= \"\" | c\nc ::= \"c\""),
            "taken");
  EXPECT_NE(why(Kind::kEbnf, "root ::= /a?/{9}"), "taken");
  EXPECT_EQ(why(Kind::kEbnf, "root ::= a{9}\na ::= b | \"x\"\nb ::= \"b\" c\nc ::= \"\" | c"),
            "taken");
}

TEST(TooSlow, IsFoundWithAPartOfTheVocabulary) {
  std::vector<std::string> words;
  words.reserve(40000);
  for (int i = 0; i < 40000; ++i) {
    words.push_back(std::string(static_cast<std::size_t>(i % 9), static_cast<char>('a' + i % 23)) +
                    std::to_string(i));
  }
  const auto compiler = std::move(Compiler::create(byte_vocabulary(words))).value();
  std::string many_ways;
  for (int i = 0; i < 100; ++i) many_ways += ".?";

  const auto refused = compile_now(*compiler, {Kind::kRegex, many_ways});

  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().code(), Code::kInvalidArgument);
  EXPECT_TRUE(refused.status().message().starts_with("the grammar is too slow: "));
  EXPECT_TRUE(compile_now(*compiler, {Kind::kRegex, "[a-z]+[0-9]*"}).ok());
}

}  // namespace
}  // namespace fathom::grammar
