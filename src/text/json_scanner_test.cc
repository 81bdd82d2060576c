#include "text/json_scanner.h"

#include <random>
#include <string>

#include <gtest/gtest.h>

#include "base/json.h"

namespace fathom::text {
namespace {

// Whether the scanner takes `text` for one value with nothing but blanks behind.
bool accepts(std::string_view text) {
  JsonScanner scanner;
  const std::size_t at = scanner.push(text);
  if (!scanner.done()) scanner.push(" ");  // ends a number
  if (!scanner.done()) return false;
  const std::string_view behind = at < text.size() ? text.substr(at) : "";
  return behind.find_first_not_of(" \t\n\r") == std::string_view::npos;
}

TEST(JsonScanner, EndsWhereTheValueEnds) {
  for (const std::string_view value : {"{}", "[]", "\"a\\\"b\"", "true", " null",
                                       "{\"a\": [1, -2.5e+3, {\"b\": \"]\"}], \"c\": false}"}) {
    JsonScanner scanner;
    EXPECT_EQ(scanner.push(std::string(value) + "}]"), value.size()) << value;
    EXPECT_TRUE(scanner.done());
  }
}

TEST(JsonScanner, ANumberEndsAtWhatIsNotOfIt) {
  JsonScanner scanner;
  EXPECT_EQ(scanner.push("-12"), 3U);
  EXPECT_FALSE(scanner.done());
  EXPECT_EQ(scanner.push(".5e3,"), 4U);
  EXPECT_TRUE(scanner.done());
}

TEST(JsonScanner, StopsAtTheFirstByteThatCannotBelong) {
  struct {
    std::string_view text;
    std::size_t read;
  } const cases[] = {{"San", 0}, {"[1,]", 3},       {"{a", 1},          {"tru!", 3},
                     {"01", 1},  {"[1}", 2},        {"\"\n", 1},        {"{\"a\" 1", 5},
                     {"[-]", 2}, {"\"\\ud800x", 7}, {"\"\\udc00\"", 6}, {"]", 0}};
  for (const auto& [text, read] : cases) {
    JsonScanner scanner;
    EXPECT_EQ(scanner.push(text), read) << text;
    EXPECT_TRUE(scanner.broken() || text == "01") << text;
  }
}

TEST(JsonScanner, AcceptsWhatTheParserAccepts) {
  static constexpr std::string_view kParts[] = {
      "{",       "}",     "[",      "]",     ",",       ":",
      "\"",      "\"a\"", "\"a\":", "\\",    "\\u12aF", "\\ud83d\\ude00",
      "\\ud83d", "0",     "12",     "-",     ".",       "e",
      "+",       "1.5e3", "true",   "false", "null",    "nul",
      " ",       "\n",    "中",     "\x01"};
  std::mt19937 random(3);
  int accepted = 0;
  for (int round = 0; round < 50000; ++round) {
    std::string text;
    const std::size_t parts = 1 + random() % 7;
    for (std::size_t i = 0; i < parts; ++i) text += kParts[random() % std::size(kParts)];
    const bool valid = parse_json(text).ok();
    ASSERT_EQ(accepts(text), valid) << text;
    accepted += valid ? 1 : 0;
  }
  EXPECT_GT(accepted, 500);
}

TEST(JsonScanner, HasTheParsersLimits) {
  for (const std::size_t depth : {127U, 128U, 129U}) {
    const std::string text = std::string(depth, '[') + std::string(depth, ']');
    EXPECT_EQ(accepts(text), parse_json(text).ok()) << depth;
  }
  for (const std::size_t digits : {4095U, 4096U, 4097U}) {
    const std::string text = "[" + std::string(digits, '1') + "]";
    EXPECT_EQ(accepts(text), parse_json(text).ok()) << digits;
  }
}

}  // namespace
}  // namespace fathom::text
