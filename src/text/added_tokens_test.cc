#include "text/added_tokens.h"

#include <ostream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fathom::text {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Found = std::pair<std::string_view, TokenId>;

std::vector<Found> split(const std::vector<AddedToken>& tokens, std::string_view text) {
  std::vector<TextSegment> segments;
  AddedTokens(tokens).split(text, segments);
  std::vector<Found> found;
  found.reserve(segments.size());
  for (const TextSegment& segment : segments) found.emplace_back(segment.text, segment.id);
  return found;
}

TEST(AddedTokens, TheLeftmostThenTheLongestIsFound) {
  const std::vector<AddedToken> tokens = {{1, "<a>"}, {2, "<a><b>"}, {3, "a><"}};

  EXPECT_THAT(split(tokens, "x<a><b><a>y"),
              ElementsAre(Found("x", -1), Found("<a><b>", 2), Found("<a>", 1), Found("y", -1)));
  EXPECT_THAT(split(tokens, "<a><c"), ElementsAre(Found("<a>", 1), Found("<c", -1)));
  EXPECT_THAT(split(tokens, ""), IsEmpty());
}

TEST(AddedTokens, StripsTakeTheWhiteSpaceBesideTheToken) {
  const std::vector<AddedToken> tokens = {{.id = 1, .content = "<m>", .lstrip = true},
                                          {.id = 2, .content = "<r>", .rstrip = true}};

  EXPECT_THAT(split(tokens, "a \u3000<m> b"),
              ElementsAre(Found("a", -1), Found(" \u3000<m>", 1), Found(" b", -1)));
  EXPECT_THAT(split(tokens, "a <r> \n b"),
              ElementsAre(Found("a ", -1), Found("<r> \n ", 2), Found("b", -1)));
  EXPECT_THAT(split(tokens, "<r>  <m>"), ElementsAre(Found("<r>  ", 2), Found("<m>", 1)));
}

TEST(AddedTokens, ASingleWordIsNotFoundInsideAnother) {
  const std::vector<AddedToken> tokens = {{.id = 1, .content = "cat", .single_word = true}};

  EXPECT_THAT(
      split(tokens, "cat cats 猫cat cat."),
      ElementsAre(Found("cat", 1), Found(" cats 猫cat ", -1), Found("cat", 1), Found(".", -1)));
}

TEST(AddedTokens, NormalizedTokensAreFoundInWhatTheOthersLeave) {
  const std::vector<AddedToken> tokens = {{.id = 1, .content = "a<b", .normalized = true},
                                          {.id = 2, .content = "<b>"}};

  EXPECT_THAT(split(tokens, "a<b>a<b"),
              ElementsAre(Found("a", -1), Found("<b>", 2), Found("a<b", 1)));
}

TEST(AddedTokens, AreFoundBesideBytesThatAreNoText) {
  const std::vector<AddedToken> tokens = {
      {.id = 1, .content = "<m>", .single_word = true, .lstrip = true, .rstrip = true}};

  EXPECT_THAT(split(tokens, "\xFF<m>\x80"),
              ElementsAre(Found("\xFF", -1), Found("<m>", 1), Found("\x80", -1)));
}

TEST(AddedTokens, FindWantsTheWholeContent) {
  const AddedTokens tokens({{1, "<a>"}, {.id = 2, .content = "<b>", .normalized = true}, {3, ""}});

  EXPECT_EQ(tokens.find("<a>"), 1);
  EXPECT_EQ(tokens.find("<b>"), 2);
  EXPECT_EQ(tokens.find("<a"), -1);
  EXPECT_EQ(tokens.find("<a>x"), -1);
  EXPECT_EQ(tokens.find(""), -1);
}

}  // namespace
}  // namespace fathom::text
