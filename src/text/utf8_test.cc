#include "text/utf8.h"

#include <random>
#include <string>

#include <gtest/gtest.h>

namespace fathom::text {
namespace {

std::string repaired(std::string_view bytes) {
  Utf8Repair repair;
  std::string out;
  repair.push(bytes, out);
  repair.flush(out);
  return out;
}

TEST(Utf8, EveryScalarValueSurvivesEncodingAndDecoding) {
  for (char32_t value = 0; value <= 0x10FFFF; ++value) {
    if (value == 0xD800) value = 0xE000;
    std::string text;

    append_utf8(value, text);

    ASSERT_EQ(valid_utf8_prefix(text), text.size());
    ASSERT_TRUE(decode_trusted(text.data()).value == value);
    ASSERT_EQ(decode_trusted(text.data()).size, text.size());
  }
}

TEST(Utf8, OneReplacementStandsForEachMaximalSubpart) {
  EXPECT_EQ(repaired("a\x80z"), "a\uFFFDz");
  EXPECT_EQ(repaired("\xC0\xAF"), "\uFFFD\uFFFD");
  EXPECT_EQ(repaired("\xE0\x80\x80"), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(repaired("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(repaired("\xF0\x9F\x98z"), "\uFFFDz");
  EXPECT_EQ(repaired("\xF4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(repaired("\xF0\x9F\x98"), "\uFFFD");
  EXPECT_EQ(repaired("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), "\uFFFD\uFFFD\uFFFD\uFFFD\x41");
}

TEST(Utf8, ABrokenCharacterIsReplacedAsSoonAsItCannotBeFinished) {
  Utf8Repair repair;
  std::string out;

  repair.push("\xE4\xB8", out);
  EXPECT_EQ(out, "");
  EXPECT_EQ(repair.pending(), 2U);
  repair.push("\xE4", out);
  EXPECT_EQ(out, "\uFFFD");
  EXPECT_EQ(repair.pending(), 1U);
  repair.push("\xB8\xAD", out);

  EXPECT_EQ(out, "\uFFFD中");
  EXPECT_EQ(repair.pending(), 0U);
}

TEST(Utf8, TheCutOfAStreamDoesNotMatter) {
  std::mt19937 random(7);  // NOLINT(bugprone-random-generator-seed)
  const std::string alphabet = "a\x80\xBF\xC2\xE0\xA0\xED\x9F\xF0\x90\xF4\x8F\xFF";
  for (int step = 0; step < 20000; ++step) {
    std::string bytes;
    for (unsigned i = 0; i < random() % 12; ++i) bytes += alphabet[random() % alphabet.size()];

    Utf8Repair repair;
    std::string out;
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t size = 1 + random() % 3;
      repair.push(std::string_view(bytes).substr(at, size), out);
      at += size;
    }
    repair.flush(out);

    ASSERT_EQ(out, repaired(bytes)) << step;
    ASSERT_EQ(valid_utf8_prefix(out), out.size()) << step;
  }
}

}  // namespace
}  // namespace fathom::text
