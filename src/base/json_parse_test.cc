#include <cmath>
#include <iterator>
#include <random>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"

namespace fathom {
namespace {

using testing::HasSubstr;

Json parsed(std::string_view text) {
  Result<Json> result = parse_json(text);
  EXPECT_TRUE(result.ok()) << text << ": " << result.status().message();
  return result.ok() ? std::move(*result) : Json();
}

std::string refusal(std::string_view text, const JsonLimits& limits = {}) {
  const Result<Json> result = parse_json(text, limits);
  EXPECT_FALSE(result.ok()) << text;
  if (result.ok()) return "accepted";
  EXPECT_EQ(result.status().code(), Code::kInvalidArgument);
  return result.status().message();
}

TEST(ParseJson, EveryKindOfValueMayStandAlone) {
  EXPECT_TRUE(parsed(" null\n").is_null());
  EXPECT_EQ(parsed("true").as_bool(), true);
  EXPECT_EQ(parsed("\tfalse ").as_bool(), false);
  EXPECT_EQ(*parsed("-12.50e+3").as_number_text(), "-12.50e+3");
  EXPECT_EQ(*parsed(R"("a\"\\\/\b\f\n\r\té😀")").as_string(), "a\"\\/\b\f\n\r\té😀");
  EXPECT_EQ(parsed("[]"), Json::array());
  EXPECT_EQ(parsed("{ }"), Json::object());
}

TEST(ParseJson, MembersAndElementsKeepTheirOrder) {
  const Json json = parsed(R"({"z": [1, "two", null, {"k": []}], "a": {"": true}, "m": 0})");

  ASSERT_EQ(json.as_object()->size(), 3U);
  EXPECT_EQ((*json.as_object())[0].key, "z");
  EXPECT_EQ((*json.as_object())[1].key, "a");
  EXPECT_EQ((*json.as_object())[2].key, "m");
  EXPECT_EQ(to_json(json), R"({"z":[1,"two",null,{"k":[]}],"a":{"":true},"m":0})");
}

TEST(ParseJson, NumbersKeepAllTheirDigits) {
  for (const std::string number :
       {"0", "-0", "123456789012345678901234567890", "-99999999999999999999",
        "18446744073709551616", "1e400", "0.1000", "1E-7", "3.141592653589793238462643383279"}) {
    EXPECT_EQ(*parsed(number).as_number_text(), number);
    EXPECT_EQ(to_json(parsed("[ " + number + " ,0]")), "[" + number + ",0]");
  }
}

TEST(ParseJson, TheLastOfTwoEqualKeysWinsInTheFirstOnesPlace) {
  EXPECT_EQ(to_json(parsed(R"({"a":1,"b":2,"a":{"c":3}})")), R"({"a":{"c":3},"b":2})");
  EXPECT_EQ(to_json(parsed(R"({"a":[1],"a":null})")), R"({"a":null})");
  EXPECT_EQ(to_json(parsed(R"({"a":1,"\u0061":2})")), R"({"a":2})");
}

TEST(ParseJson, EqualKeysAreFoundInObjectsOfAnySize) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    std::string text = "{";
    Json wanted = Json::object();
    const auto members = random() % 60;
    const auto keys = random() % 50 + 1;
    for (std::size_t i = 0; i < members; ++i) {
      const std::string key = "k" + std::to_string(random() % keys);
      text += (i > 0 ? ",\"" : "\"") + key + "\":" + std::to_string(i);
      wanted.set(key, Json::integer(static_cast<std::int64_t>(i)));
    }
    EXPECT_EQ(parsed(text + "}"), wanted) << "round " << round << ": " << text;
  }
}

TEST(ParseJson, SaysWhereTheTextIsWrong) {
  const struct {
    std::string text;
    std::string message;
  } cases[] = {
      {"", "not valid JSON: expected a value, the text is blank"},
      {" \n", "not valid JSON: expected a value, the text is blank"},
      {"1 2", "not valid JSON at byte 2: expected the end of the text"},
      {"{} x", "not valid JSON at byte 3: expected the end of the text"},
      {"[1],[2]", "not valid JSON at byte 4: expected the end of the text"},
      {"1]", "not valid JSON at byte 1: expected the end of the text"},
      {"1],[2", "not valid JSON at byte 1: expected the end of the text"},
      {"[1,2", "not valid JSON at byte 4: the text ends too early"},
      {R"({"a":1)", "not valid JSON at byte 6: the text ends too early"},
      {R"({"a":)", "not valid JSON at byte 5: the text ends too early"},
      {"[[[", "not valid JSON at byte 3: the text ends too early"},
      {"[1 2]", "not valid JSON at byte 3: expected ',' or ']'"},
      {"[1}", "not valid JSON at byte 2: expected ',' or ']'"},
      {"[1,]", "not valid JSON at byte 3: expected a value"},
      {"[,1]", "not valid JSON at byte 1: expected a value"},
      {R"({"a" 1})", "not valid JSON at byte 5: expected '}', or ',' and a member: \"key\": value"},
      {R"({"a":1,})",
       "not valid JSON at byte 7: expected '}', or ',' and a member: \"key\": value"},
      {R"({"a":1 "b":2})",
       "not valid JSON at byte 7: expected '}', or ',' and a member: \"key\": value"},
      {R"({1:2})", "not valid JSON at byte 1: expected '}', or ',' and a member: \"key\": value"},
      {"[tru]", "not valid JSON at byte 1: expected a value"},
      {"[nulll]", "not valid JSON at byte 1: expected a value"},
      {"[NaN]", "not valid JSON at byte 1: expected a value"},
      {"Infinity", "not valid JSON at byte 0: expected a value"},
      {"'a'", "not valid JSON at byte 0: expected a value"},
      {"[1, 01]", "not valid JSON at byte 4: this is no number"},
      {"[1, 2.]", "not valid JSON at byte 4: this is no number"},
      {"[1, .5]", "not valid JSON at byte 4: expected a value"},
      {"[+1]", "not valid JSON at byte 1: expected a value"},
      {"-", "not valid JSON at byte 0: this is no number"},
      {"1e", "not valid JSON at byte 0: this is no number"},
      {"0x10", "not valid JSON at byte 0: this is no number"},
      {"1_000", "not valid JSON at byte 0: this is no number"},
      {R"(["ab)", "not valid JSON at byte 1: the string is not closed"},
      {R"(["ab\"])", "not valid JSON at byte 1: the string is not closed"},
      {"[\"a\nb\"]", "not valid JSON at byte 3: a control character in a string must be escaped"},
      {R"(["a", "\q"])", "not valid JSON at byte 6: the string has an escape that means nothing"},
      {R"({"\x":1})", "not valid JSON at byte 1: the string has an escape that means nothing"},
      {R"("\ud800")", "not valid JSON at byte 0: the string has an escape that means nothing"},
      {R"("\udc00")", "not valid JSON at byte 0: the string has an escape that means nothing"},
      {R"("\ud800A")", "not valid JSON at byte 0: the string has an escape that means nothing"},
      {"[\"\xC3\xA9\xFF\"]", "not valid JSON at byte 4: this is not UTF-8"},
      {"\"\xED\xA0\x80\"", "not valid JSON at byte 1: this is not UTF-8"},
      {"\xEF\xBB\xBF[]", "not valid JSON at byte 0: expected a value"},
  };

  for (const auto& [text, message] : cases) EXPECT_EQ(refusal(text), message) << text;
}

TEST(ParseJson, FindsWhatIsNotUtf8InLongTexts) {
  std::string text = "\"";
  while (text.size() < 20000) text += "aé€😀";
  const std::size_t at = text.size();
  EXPECT_TRUE(parse_json(text + '"').ok());

  text += "\xE2\x82\"";

  EXPECT_EQ(refusal(text), "not valid JSON at byte " + std::to_string(at) + ": this is not UTF-8");
}

TEST(ParseJson, BytesDepthValuesAndNumbersAreBounded) {
  const JsonLimits limits{.max_bytes = 40, .max_depth = 3, .max_values = 5, .max_number_bytes = 6};

  EXPECT_TRUE(parse_json("[[[]]]", limits).ok());
  EXPECT_TRUE(parse_json("[1,2,3,4]", limits).ok());
  EXPECT_TRUE(parse_json("-1.0e5", limits).ok());
  EXPECT_EQ(refusal(std::string(41, ' '), limits),
            "the JSON text has 41 bytes, at most 40 are read");
  EXPECT_EQ(refusal(R"([{"a":[[]]}])", limits),
            "not valid JSON at byte 7: nested deeper than 3 levels");
  EXPECT_EQ(refusal("[1,2,3,4,5]", limits), "not valid JSON at byte 9: more than 5 values");
  EXPECT_EQ(refusal("[1234567]", limits),
            "not valid JSON at byte 1: a number of more than 6 characters");
}

TEST(ParseJson, DeepNestingIsRefusedNotFollowed) {
  EXPECT_THAT(refusal(std::string(1000000, '[')), HasSubstr("nested deeper than 128 levels"));
  EXPECT_TRUE(parse_json(std::string(128, '[') + std::string(128, ']')).ok());
  EXPECT_THAT(refusal(std::string(129, '[') + std::string(129, ']')), HasSubstr("byte 128"));
}

Json random_json(std::mt19937& random, int depth) {
  static const std::string pieces[] = {"",  "a", "\"", "\\",     "\n",        "\x01", "\x7F",
                                       "é", "😀", "/",  "\u2028", "<｜DSML｜", "\t",   "\b"};
  const auto text = [&] {
    std::string out;
    for (auto i = random() % 4; i > 0; --i) out += pieces[random() % std::size(pieces)];
    return out;
  };
  switch (random() % (depth > 0 ? 7 : 5)) {
    case 0:
      return {};
    case 1:
      return Json::boolean(random() % 2 == 0);
    case 2:
      return Json::integer(static_cast<std::int64_t>(random()) - (1U << 31));
    case 3:
      return Json::number(
          std::ldexp(static_cast<double>(random()), static_cast<int>(random() % 400) - 200));
    case 4:
      return Json::string(text());
    case 5: {
      Json::Array elements;
      for (auto i = random() % 5; i > 0; --i) elements.push_back(random_json(random, depth - 1));
      return Json::array(std::move(elements));
    }
    default: {
      Json object = Json::object();
      for (auto i = random() % 5; i > 0; --i) object.set(text(), random_json(random, depth - 1));
      return object;
    }
  }
}

TEST(ParseJson, ReadsBackWhatIsWritten) {
  std::mt19937 random(11);
  for (int round = 0; round < 2000; ++round) {
    const Json json = random_json(random, 5);
    const std::string text = to_json(json);
    EXPECT_EQ(parsed(text), json) << "round " << round << ": " << text;
  }
}

}  // namespace
}  // namespace fathom
