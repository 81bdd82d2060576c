#include "text/pattern_scanner.h"

#include <random>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "text/pre_tokenizer.h"
#include "text/test_tokenizer.h"
#include "text/unicode_class.h"
#include "text/utf8.h"

namespace fathom::text {
namespace {

using ::testing::ElementsAre;
using Texts = std::vector<std::string_view>;

Texts deepseek(std::string_view text) {
  Texts pieces;
  scan_deepseek(text, pieces);
  return pieces;
}

Texts gpt2(std::string_view text) {
  Texts pieces;
  scan_gpt2(text, pieces);
  return pieces;
}

PreTokenizer regex_only(std::initializer_list<std::string_view> patterns) {
  PreTokenizerSpec spec;
  for (const std::string_view pattern : patterns) {
    spec.steps.push_back({.pattern = std::string(pattern)});
  }
  Result<PreTokenizer> result =
      PreTokenizer::create(std::move(spec), PreTokenizer::Engine::kRegexOnly);
  return std::move(result).value();
}

bool regex_matches(const RegexSplit& regex, const std::string& character) {
  Texts pieces;
  RegexSplit::Matcher(regex).split(character, pieces);
  return pieces.empty();  // the match is removed
}

TEST(DeepSeekScanner, CutsNumbersInThreesFromTheLeft) {
  EXPECT_THAT(deepseek("1234567"), ElementsAre("123", "456", "7"));
  EXPECT_THAT(deepseek("3.14159 and 12"), ElementsAre("3", ".", "141", "59", " and", " ", "12"));
  EXPECT_THAT(deepseek("٣٤٥٦ ½x"), ElementsAre("٣٤٥", "٦", " ", "½", "x"));
}

TEST(DeepSeekScanner, IsolatesHanAndKanaAndStillCutsInside) {
  EXPECT_THAT(deepseek("中文かなABC"), ElementsAre("中文かな", "ABC"));
  EXPECT_THAT(deepseek("カタカナ・テスト"), ElementsAre("カタカナ", "・", "テスト"));
  EXPECT_THAT(deepseek("龥龦"), ElementsAre("龥", "龦"));
}

TEST(DeepSeekScanner, GluesAsciiPunctuationToAsciiLettersOnly) {
  EXPECT_THAT(deepseek("it's don't"), ElementsAre("it", "'s", " don", "'t"));
  EXPECT_THAT(deepseek("foo_bar.baz()"), ElementsAre("foo", "_bar", ".baz", "()"));
  EXPECT_THAT(deepseek(".é"), ElementsAre(".", "é"));
}

TEST(DeepSeekScanner, LeavesOneBlankToTheNextWord) {
  EXPECT_THAT(deepseek("a   b"), ElementsAre("a", "  ", " b"));
  EXPECT_THAT(deepseek("a   "), ElementsAre("a", "   "));
  EXPECT_THAT(deepseek("a  1"), ElementsAre("a", "  ", "1"));
  EXPECT_THAT(deepseek("  \n  x"), ElementsAre("  \n", " ", " x"));
}

TEST(DeepSeekScanner, KeepsWhatNoAlternativeMatches) {
  EXPECT_THAT(deepseek("👩\u200D👧 x"), ElementsAre("👩", "\u200D", "👧", " x"));
  EXPECT_THAT(deepseek("a\u200Bb"), ElementsAre("a", "\u200Bb"));
  EXPECT_THAT(deepseek("\x01\x02\x03"), ElementsAre("\x01\x02\x03"));
}

TEST(Gpt2Scanner, CutsContractionsWordsNumbersAndBlanks) {
  EXPECT_THAT(gpt2("don't can'"), ElementsAre("don", "'t", " can", "'"));
  EXPECT_THAT(gpt2("12345 67"), ElementsAre("12345", " 67"));
  EXPECT_THAT(gpt2("a  \n b"), ElementsAre("a", "  \n", " b"));
  EXPECT_THAT(gpt2("x "), ElementsAre("x", " "));
}

TEST(DeepSeekScanner, EqualsTheThreeRegexesOnRandomText) {
  const PreTokenizer oracle = regex_only({kDeepSeekNumbers, kDeepSeekHanKana, kDeepSeekWords});
  std::mt19937 random(1);  // NOLINT(bugprone-random-generator-seed)
  for (int step = 0; step < 20000; ++step) {
    const std::string text = random_text(random, 40);
    Pieces wanted;

    oracle.split(text, wanted);

    ASSERT_EQ(deepseek(text), wanted.list) << "step " << step << ": " << text;
  }
}

TEST(Gpt2Scanner, EqualsTheRegexOnRandomText) {
  const PreTokenizer oracle = regex_only({kGpt2Pattern});
  std::mt19937 random(2);  // NOLINT(bugprone-random-generator-seed)
  for (int step = 0; step < 20000; ++step) {
    std::string text = random_text(random, 20) + "'re" + random_text(random, 20);
    Pieces wanted;

    oracle.split(text, wanted);

    ASSERT_EQ(gpt2(text), wanted.list) << "step " << step << ": " << text;
  }
}

TEST(Llama3Scanner, CutsContractionsWordsNumbersAndBlanks) {
  Texts pieces;
  scan_llama3("I'LL say-it\tx 12345\n\n  y  \u0301", 3, pieces);

  EXPECT_THAT(pieces, ElementsAre("I", "'LL", " say", "-it", "\tx", " ", "123", "45", "\n\n", " ",
                                  " y", " ", " \u0301"));
}

TEST(Llama3Scanner, EqualsTheRegexOnRandomText) {
  for (const int digits : {1, 3}) {
    const PreTokenizer oracle = regex_only({digits == 3 ? kLlama3Pattern : kQwenPattern});
    std::mt19937 random(3);  // NOLINT(bugprone-random-generator-seed)
    constexpr std::string_view kEndings[] = {"'re", "'S", "'\u017F", "'l",      "'LL",
                                             "'vE", "'D", "'Re",     "'r\u017F"};
    for (int step = 0; step < 10000; ++step) {
      std::string text = random_text(random, 20);
      text += kEndings[random() % std::size(kEndings)];
      text += random_text(random, 20);
      Pieces wanted;
      Texts pieces;

      oracle.split(text, wanted);
      scan_llama3(text, digits, pieces);

      ASSERT_EQ(pieces, wanted.list) << "step " << step << ": " << text;
    }
  }
}

TEST(UnicodeClasses, EqualTheRegexEnginesForEveryCodePointOfUnicode14) {
  const std::pair<const char*, CharClass> classes[] = {
      {"\\p{L}", kLetter},      {"\\p{M}", kMark},   {"\\p{N}", kNumber},
      {"\\p{P}", kPunctuation}, {"\\p{S}", kSymbol}, {"\\s", kSpace}};
  for (const auto& [pattern, bit] : classes) {
    auto regex = RegexSplit::create({.pattern = pattern, .behavior = SplitBehavior::kRemoved});
    ASSERT_TRUE(regex.ok()) << regex.status().message();
    for (char32_t c = 0; c <= 0x10FFFF; c = c == 0xD7FF ? 0xE000 : c + 1) {
      if (is_new_in_unicode_15(c)) continue;
      std::string character;
      append_utf8(c, character);
      ASSERT_EQ((unicode_classes().of(c) & bit) != 0, regex_matches(**regex, character))
          << pattern << " U+" << std::hex << static_cast<std::uint32_t>(c);
    }
  }
}

TEST(DeepSeekScanner, IsLinearInRunsOfBlanks) {
  const std::string blanks(1 << 20, ' ');

  EXPECT_THAT(deepseek(blanks + "1"), ElementsAre(blanks, "1"));
  EXPECT_EQ(deepseek(blanks + "x").size(), 2U);
  EXPECT_THAT(deepseek("\n" + blanks), ElementsAre("\n", blanks));
}

}  // namespace
}  // namespace fathom::text
