#include "base/json.h"

#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include <gtest/gtest.h>

namespace fathom {
namespace {

Json number(std::string_view text) {
  std::optional<Json> result = Json::number_from_text(text);
  EXPECT_TRUE(result.has_value()) << text;
  return result.value_or(Json());
}

std::string quoted(std::string_view text) {
  std::string out = "x";
  append_json_string(out, text);
  EXPECT_EQ(out.front(), 'x');
  return out.substr(1);
}

TEST(Json, AccessorsAnswerForTheirKindAlone) {
  const std::pair<Json, Json::Kind> values[] = {{Json(), Json::Kind::kNull},
                                                {Json::boolean(false), Json::Kind::kBool},
                                                {Json::integer(0), Json::Kind::kNumber},
                                                {Json::string(""), Json::Kind::kString},
                                                {Json::array(), Json::Kind::kArray},
                                                {Json::object(), Json::Kind::kObject}};

  for (const auto& [value, kind] : values) {
    EXPECT_EQ(value.kind(), kind);
    EXPECT_EQ(value.is_null(), kind == Json::Kind::kNull);
    EXPECT_EQ(value.as_bool().has_value(), kind == Json::Kind::kBool);
    EXPECT_EQ(value.as_int64().has_value(), kind == Json::Kind::kNumber);
    EXPECT_EQ(value.as_double().has_value(), kind == Json::Kind::kNumber);
    EXPECT_EQ(value.as_number_text() != nullptr, kind == Json::Kind::kNumber);
    EXPECT_EQ(value.as_string() != nullptr, kind == Json::Kind::kString);
    EXPECT_EQ(value.as_array() != nullptr, kind == Json::Kind::kArray);
    EXPECT_EQ(value.as_object() != nullptr, kind == Json::Kind::kObject);
    EXPECT_EQ(value.find("a"), nullptr);
  }
  EXPECT_EQ(wrong_json_kind("a string", values[2].first), "expected a string, was a number");
  EXPECT_EQ(wrong_json_kind("an array", values[0].first), "expected an array, was null");
}

TEST(Json, WholeNumbersAreWholeHoweverTheyAreWritten) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  constexpr std::int64_t kLeast = std::numeric_limits<std::int64_t>::min();
  EXPECT_EQ(number("16").as_int64(), 16);
  EXPECT_EQ(number("16.0").as_int64(), 16);
  EXPECT_EQ(number("1.6e1").as_int64(), 16);
  EXPECT_EQ(number("-0").as_int64(), 0);
  EXPECT_EQ(number("9223372036854775807").as_int64(), kMost);
  EXPECT_EQ(number("-9223372036854775808").as_int64(), kLeast);
  EXPECT_EQ(number("-9223372036854775808.0").as_int64(), kLeast);
  for (const char* text : {"16.5", "9223372036854775808", "9.3e18", "1e400", "-1e400", "1e-400"}) {
    const bool zero = std::string_view(text) == "1e-400";
    EXPECT_EQ(number(text).as_int64(), zero ? std::optional<std::int64_t>(0) : std::nullopt)
        << text;
  }
}

TEST(Json, DoublesAreTheNearestOnes) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const std::pair<const char*, double> cases[] = {
      {"0.1", 0.1},
      {"-2.5e-3", -2.5e-3},
      {"12345678901234567890123", 12345678901234567890123.0},
      {"5e-324", 5e-324},
      {"1.7976931348623157e308", 1.7976931348623157e308},
      {"1e309", kInfinity},
      {"-1e99999999999999999999", -kInfinity},
      {"1e-99999999999999999999", 0},
      {"0e99999999999999999999", 0},
      {"0.00e400", 0},
      {"1e-400", 0},
      {"0.0000000001e400", kInfinity},
      {"10000000000e-500", 0},
  };

  for (const auto& [text, wanted] : cases) EXPECT_EQ(number(text).as_double(), wanted) << text;
  EXPECT_TRUE(std::signbit(*number("-1e-400").as_double()));
  EXPECT_EQ(number(std::string(400, '9')).as_double(), kInfinity);
  EXPECT_EQ(number("0." + std::string(400, '0') + "1").as_double(), 0);
}

TEST(Json, DoublesAreWrittenShortAndAsDoubles) {
  EXPECT_EQ(to_json(Json::number(1)), "1.0");
  EXPECT_EQ(to_json(Json::number(0.1)), "0.1");
  EXPECT_EQ(to_json(Json::number(-0.0)), "-0.0");
  EXPECT_EQ(to_json(Json::number(1e300)), "1e+300");
  EXPECT_EQ(to_json(Json::number(std::nan(""))), "null");
  EXPECT_EQ(to_json(Json::number(-std::numeric_limits<double>::infinity())), "null");
  for (const double value : {1.0 / 3, 5e-324, 1.7976931348623157e308, 123456789.125}) {
    EXPECT_EQ(number(to_json(Json::number(value))).as_double(), value);
  }
}

TEST(Json, NumbersComeFromTextThatJsonAllows) {
  for (const char* text :
       {"", "-", "+1", "01", "1.", ".5", "1e", "1e+", "0x1", "1 ", " 1", "NaN"}) {
    EXPECT_FALSE(Json::number_from_text(text).has_value()) << text;
  }
}

TEST(Json, SetReplacesInPlaceOrAppends) {
  Json json = Json::object();
  json.set("b", Json::integer(1));
  json.set("a", Json());
  json.set("b", Json::string("new"));

  EXPECT_EQ(to_json(json), R"({"b":"new","a":null})");
  EXPECT_EQ(*json.find("b")->as_string(), "new");
  EXPECT_TRUE(json.find("a")->is_null());
  EXPECT_EQ(json.find_set("a"), nullptr);
  EXPECT_NE(json.find_set("b"), nullptr);
  EXPECT_EQ(json.find("c"), nullptr);
}

TEST(Json, EqualityLooksAtKindTextAndOrder) {
  Json ab = Json::object();
  ab.set("a", Json::integer(1));
  ab.set("b", Json::integer(2));
  Json ba = Json::object();
  ba.set("b", Json::integer(2));
  ba.set("a", Json::integer(1));

  EXPECT_EQ(ab, Json(ab));
  EXPECT_FALSE(ab == ba);
  EXPECT_FALSE(number("1") == number("1.0"));
  EXPECT_FALSE(Json() == Json::boolean(false));
}

TEST(JsonString, EscapesOnlyWhatItMust) {
  EXPECT_EQ(quoted(""), R"("")");
  EXPECT_EQ(quoted("plain text / with 'quotes'"), R"("plain text / with 'quotes'")");
  EXPECT_EQ(quoted("a\"b\\c\n\r\t\b\f"), R"("a\"b\\c\n\r\t\b\f")");
  EXPECT_EQ(quoted(std::string_view("\0\x01\x1F", 3)), R"("\u0000\u0001\u001f")");
  EXPECT_EQ(quoted("\x7F é \u2028 😀 <｜end▁of▁sentence｜>"),
            "\"\x7F é \u2028 😀 <｜end▁of▁sentence｜>\"");
}

TEST(JsonString, BytesThatAreNotUtf8AreReplaced) {
  EXPECT_EQ(quoted("a\xFF\"b"), "\"a\uFFFD\\\"b\"");
  EXPECT_EQ(quoted("é\xC3"), "\"é\uFFFD\"");
  EXPECT_EQ(quoted("\xF0\x9F\x98"), "\"\uFFFD\uFFFD\uFFFD\"");
  EXPECT_EQ(quoted("\xED\xA0\x80\xF0\x9F\x98\x80"), "\"\uFFFD\uFFFD\uFFFD\U0001F600\"");
}

}  // namespace
}  // namespace fathom
