#include "text/regex_split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fathom::text {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Texts = std::vector<std::string_view>;

Texts split(const SplitStep& step, std::string_view text) {
  Result<std::unique_ptr<RegexSplit>> split = RegexSplit::create(step);
  EXPECT_TRUE(split.ok()) << split.status().message();
  Texts pieces;
  RegexSplit::Matcher(**split).split(text, pieces);
  return pieces;
}

TEST(RegexSplit, EachBehaviourTreatsMatchesItsOwnWay) {
  constexpr std::string_view kText = "the-final--countdown";

  EXPECT_THAT(split({"-", false, SplitBehavior::kIsolated}, kText),
              ElementsAre("the", "-", "final", "-", "-", "countdown"));
  EXPECT_THAT(split({"-", false, SplitBehavior::kRemoved}, kText),
              ElementsAre("the", "final", "countdown"));
  EXPECT_THAT(split({"-", false, SplitBehavior::kMergedWithPrevious}, kText),
              ElementsAre("the-", "final-", "-", "countdown"));
  EXPECT_THAT(split({"-", false, SplitBehavior::kMergedWithNext}, kText),
              ElementsAre("the", "-final", "-", "-countdown"));
  EXPECT_THAT(split({"-", false, SplitBehavior::kContiguous}, kText),
              ElementsAre("the", "-", "final", "--", "countdown"));
}

TEST(RegexSplit, InvertSwapsTheRoles) {
  EXPECT_THAT(split({"\\w+", false, SplitBehavior::kRemoved, true}, "a, b"), ElementsAre("a", "b"));
  EXPECT_THAT(split({"\\w+", false, SplitBehavior::kRemoved, false}, "a, b"), ElementsAre(", "));
}

TEST(RegexSplit, ALiteralIsNotARegex) {
  EXPECT_THAT(split({"a.", true}, "a.ab"), ElementsAre("a.", "ab"));
}

TEST(RegexSplit, AnEmptyMatchCutsButIsNoPiece) {
  EXPECT_THAT(split({"(?=b)", false}, "abab"), ElementsAre("a", "ba", "b"));
  EXPECT_THAT(split({"x*", false}, "ax中"), ElementsAre("a", "x", "中"));
  EXPECT_THAT(split({"x*", false}, ""), IsEmpty());
}

TEST(RegexSplit, LookAheadSeesTheEndOfThePiece) {
  EXPECT_THAT(split({"\\s+(?!\\S)|\\s+", false}, "a  b  "), ElementsAre("a", " ", " ", "b", "  "));
}

TEST(RegexSplit, ClassesAreUnicode) {
  EXPECT_THAT(split({"\\p{Han}+", false}, "a中文b"), ElementsAre("a", "中文", "b"));
  EXPECT_THAT(split({"\\d", false}, "x٣"), ElementsAre("x", "٣"));
}

TEST(RegexSplit, ABrokenPatternIsRefusedWithItsPlace) {
  const Status refused = RegexSplit::create({.pattern = "a(b"}).status();

  EXPECT_EQ(refused.code(), Code::kInvalidArgument);
  EXPECT_THAT(refused.message(), HasSubstr("at byte 3: missing closing parenthesis"));
  EXPECT_FALSE(RegexSplit::create({.pattern = ""}).ok());
  EXPECT_FALSE(RegexSplit::create({.pattern = "\\C"}).ok());
}

TEST(RegexSplit, DeepBacktrackingEndsAndLosesNothing) {
  const std::string text(5000, 'a');

  const Texts pieces = split({"(a|aa)+[xy]", false}, text);

  EXPECT_THAT(pieces, ElementsAre(text));
}

}  // namespace
}  // namespace fathom::text
