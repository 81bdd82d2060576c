#include "text/regex_dialect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fathom::text {
namespace {

std::string translated(std::string_view pattern) {
  const Result<std::string> result = to_pcre2(pattern);
  return result.ok() ? *result : result.status().message();
}

TEST(RegexDialect, WhatBothReadAlikeStays) {
  for (const std::string_view pattern :
       {"\\p{N}{1,3}", "[一-龥]+", "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+",
        "a{x}|{", "(?i:'s)|(?!\\d)|(?<n>.)++", "[[:alpha:]]", "[]a]", "[^]a]", "\\\\w", "\\"}) {
    EXPECT_EQ(translated(pattern), pattern);
  }
}

TEST(RegexDialect, ClassesAreSpelledOut) {
  EXPECT_EQ(translated("\\w"),
            "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}]");
  EXPECT_EQ(translated("[\\w]"), "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}]");
  EXPECT_EQ(translated("\\H"), "[^0-9A-Fa-f]");
  EXPECT_EQ(translated("[x\\h]"), "[x0-9A-Fa-f]");
  EXPECT_EQ(translated("\\p{Han}\\P{^Greek}\\p{Lu}"), "\\p{sc:Han}\\P{^sc:Greek}\\p{Lu}");
  EXPECT_EQ(translated("\\p{Letter}\\p{Alpha}"), "\\p{L}\\p{Alphabetic}");
}

TEST(RegexDialect, NotationIsChanged) {
  EXPECT_EQ(translated("\\u4e00"), "\\x{4e00}");
  EXPECT_EQ(translated("a{,3}"), "a{0,3}");
  EXPECT_EQ(translated("(?mi-x:.)"), "(?si-x:.)");
  EXPECT_EQ(translated("(?i)a|b"), "(?i)a|b");
}

TEST(RegexDialect, WhatWouldMeanSomethingElseIsRefused) {
  EXPECT_EQ(translated("[a[bc]]"), "pattern: at byte 2: a class inside a class is not supported");
  EXPECT_EQ(translated("[a&&b]"), "pattern: at byte 2: && in a class is not supported");
  EXPECT_EQ(translated("\\p{N}{1,3}+"), "pattern: at byte 5: {m,n}+ is not supported");
  EXPECT_EQ(translated("a(?i)b"),
            "pattern: at byte 1: options inside a pattern need a group: (?i:…)");
  EXPECT_EQ(translated("[\\W]"), "pattern: at byte 1: \\W and \\H in a class are not supported");
}

}  // namespace
}  // namespace fathom::text
