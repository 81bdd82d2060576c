#include "text/answer_parser.h"

#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "text/answer_corpus_testing.h"
#include "text/answer_testing.h"

namespace fathom::text {

std::ostream& operator<<(std::ostream& out, const ToldAnswer& told) {
  out << "thoughts [" << told.reasoning << "] content [" << told.content << "]";
  for (const ToldAnswer::Call& call : told.calls) {
    out << " " << call.name << " [" << call.arguments << "]" << (call.complete ? "" : " cut");
  }
  return out;
}

namespace {

// A seeded source of piece sizes, most of them small.
class Sizes {
 public:
  explicit Sizes(std::uint32_t seed) : random_(seed) {}
  std::size_t operator()() { return 1 + random_() % (random_() % 4 == 0 ? 60 : 6); }

 private:
  std::mt19937 random_;
};

TEST(AnswerParser, TellsWhatTheCorpusSays) {
  for (const AnswerCase& one : answer_cases()) {
    EXPECT_EQ(parse_whole(one.options(), one.text), one.told) << one.name;
  }
}

TEST(AnswerParser, EveryTwoPieceCutTellsTheSame) {
  for (const AnswerCase& one : answer_cases()) {
    for (std::size_t cut = 1; cut < one.text.size(); ++cut) {
      std::size_t size = 0;
      const ToldAnswer told = parse_in_pieces(one.options(), one.text, [&] {
        size = size == 0 ? cut : one.text.size();
        return size;
      });
      ASSERT_EQ(told, one.told) << one.name << " cut at byte " << cut;
    }
  }
}

TEST(AnswerParser, RandomCutsTellTheSame) {
  for (const AnswerCase& one : answer_cases()) {
    EXPECT_EQ(parse_in_pieces(one.options(), one.text, [] { return 1; }), one.told) << one.name;
    for (std::uint32_t seed = 0; seed < 20; ++seed) {
      ASSERT_EQ(parse_in_pieces(one.options(), one.text, Sizes(seed)), one.told)
          << one.name << " seed " << seed;
    }
  }
}

// Text, arguments and calls of the second are those of the first or go on where it stopped.
void expect_start_of(const ToldAnswer& start, const ToldAnswer& whole) {
  EXPECT_TRUE(whole.reasoning.starts_with(start.reasoning));
  EXPECT_TRUE(whole.content.starts_with(start.content));
  ASSERT_LE(start.calls.size(), whole.calls.size());
  for (std::size_t i = 0; i < start.calls.size(); ++i) {
    EXPECT_EQ(start.calls[i].name, whole.calls[i].name);
    EXPECT_TRUE(whole.calls[i].arguments.starts_with(start.calls[i].arguments));
  }
}

TEST(AnswerParser, ATruncatedAnswerTellsTheStartOfTheWhole) {
  for (const AnswerCase& one : answer_cases()) {
    for (std::size_t size = 0; size < one.text.size(); ++size) {
      SCOPED_TRACE(one.name + " truncated at byte " + std::to_string(size));
      const std::string_view text = std::string_view(one.text).substr(0, size);
      AnswerParser parser(one.options());
      std::vector<AnswerPiece> pieces;
      parser.push(text, pieces);
      expect_start_of(join_pieces(pieces), one.told);
      const ToldAnswer told = parse_whole(one.options(), text);
      ASSERT_EQ(parse_in_pieces(one.options(), text, Sizes(7)), told);
      ASSERT_EQ(parse_in_pieces(one.options(), text, [] { return 1; }), told);
    }
  }
}

// Parts of markup that cannot make a whole call: no call has a name.
std::string random_text(std::uint32_t seed) {
  static constexpr std::string_view kParts[] = {"<｜DSML｜function_calls>",
                                                "</｜DSML｜function_calls>",
                                                "<｜DSML｜invoke ",
                                                "</｜DSML｜invoke>",
                                                "<｜DSML｜parameter name=\"a\" string=\"true\">",
                                                "</｜DSML｜parameter>",
                                                "<｜tool▁calls▁begin｜>",
                                                "<｜tool▁call▁end｜>",
                                                "<｜",
                                                "<",
                                                "</",
                                                "｜",
                                                "\xEF\xBD",
                                                "\n",
                                                "\n\n",
                                                " ",
                                                "text",
                                                "[{\"name\":",
                                                "\"x\"",
                                                "{",
                                                "中文",
                                                "🙂"};
  std::mt19937 random(seed);
  std::string text;
  const std::size_t parts = 1 + random() % 12;
  for (std::size_t i = 0; i < parts; ++i) text += kParts[random() % std::size(kParts)];
  return text;
}

TEST(AnswerParser, TextWithoutCallsComesThroughWhole) {
  for (std::uint32_t seed = 0; seed < 4000; ++seed) {
    const std::string text = random_text(seed);
    std::string thought = text;
    thought.append("</think>").append(text);
    std::string marked = "<think>";
    marked += thought;
    for (const ToolCallFormat format :
         {ToolCallFormat::kNone, ToolCallFormat::kDeepSeekV3, ToolCallFormat::kDeepSeekV31,
          ToolCallFormat::kDeepSeekV32, ToolCallFormat::kJsonArray}) {
      AnswerParserOptions options{.tool_calls = format, .forward_unknown_tools = true};
      ASSERT_EQ(parse_in_pieces(options, text, Sizes(seed)), (ToldAnswer{.content = text}));
      options.reasoning = ReasoningFormat::kDeepSeekR1;
      ASSERT_EQ(parse_in_pieces(options, text, Sizes(seed)), (ToldAnswer{.reasoning = text}));
      ASSERT_EQ(parse_in_pieces(options, thought, Sizes(seed)),
                (ToldAnswer{.reasoning = text, .content = text}));
      options.separate_reasoning = false;
      ASSERT_EQ(parse_in_pieces(options, marked, Sizes(seed)), (ToldAnswer{.content = marked}));
    }
  }
}

// Whole and broken markup in any order: nothing to expect but that cuts do not matter.
TEST(AnswerParser, CutsOfShuffledAnswersDoNotMatter) {
  const std::vector<AnswerCase>& cases = answer_cases();
  std::mt19937 random(1);
  for (std::uint32_t round = 0; round < 3000; ++round) {
    std::string text;
    for (int part = 0; part < 4; ++part) {
      const std::string& from = cases[random() % cases.size()].text;
      const std::size_t begin = random() % from.size();
      text += std::string_view(from).substr(begin, random() % 120);
    }
    AnswerParserOptions options = cases[random() % cases.size()].options();
    options.forward_unknown_tools = random() % 2 == 0;

    const ToldAnswer told = parse_whole(options, text);

    ASSERT_EQ(parse_in_pieces(options, text, [] { return 1; }), told) << text;
    ASSERT_EQ(parse_in_pieces(options, text, Sizes(round)), told) << text;
  }
}

TEST(AnswerParser, SaysWhetherItIsInsideThoughts) {
  AnswerParser parser({.reasoning = ReasoningFormat::kDeepSeekV3});
  std::vector<AnswerPiece> pieces;

  EXPECT_FALSE(parser.thinking());
  parser.push("a<think>b</thi", pieces);
  EXPECT_TRUE(parser.thinking());
  parser.push("nk>", pieces);
  EXPECT_FALSE(parser.thinking());
  EXPECT_TRUE(AnswerParser({.reasoning = ReasoningFormat::kDeepSeekR1}).thinking());
  EXPECT_FALSE(AnswerParser({.starts_thinking = true}).thinking());
}

TEST(AnswerParser, ThoughtsThatDoNotStreamComeInOnePiece) {
  AnswerParser parser({.reasoning = ReasoningFormat::kDeepSeekR1, .stream_reasoning = false});
  std::vector<AnswerPiece> pieces;

  for (const char* const text : {"one ", "two", "</think>"}) {
    EXPECT_TRUE(pieces.empty());
    parser.push(text, pieces);
  }

  using Kind = AnswerPiece::Kind;
  EXPECT_THAT(pieces, testing::ElementsAre(AnswerPiece{Kind::kReasoning, 0, "one two"}));
}

TEST(AnswerParser, StringsStreamAsTheyAreWritten) {
  AnswerParser parser({.tool_calls = ToolCallFormat::kDeepSeekV32, .forward_unknown_tools = true});
  std::vector<AnswerPiece> pieces;
  parser.push("<｜DSML｜invoke name=\"f\"><｜DSML｜parameter name=\"k\" string=\"true\">", pieces);

  const auto pushed = [&](std::string_view text) {
    pieces.clear();
    parser.push(text, pieces);
    return pieces.empty() ? "" : pieces.front().text;
  };

  EXPECT_EQ(pushed("hi \""), "hi \\\"");
  EXPECT_EQ(pushed("a\n</"), "a\\n");
  EXPECT_EQ(pushed("b"), "</b");
  EXPECT_EQ(pushed("\xE4\xB8"), "");
  EXPECT_EQ(pushed("\xAD"), "中");
}

TEST(AnswerParser, NamesOfFormatsAreThoseOfTheFlags) {
  EXPECT_EQ(*reasoning_format("DeepSeek-R1"), ReasoningFormat::kDeepSeekR1);
  EXPECT_EQ(*reasoning_format("none"), ReasoningFormat::kNone);
  EXPECT_EQ(*tool_call_format("DeepSeekV32"), ToolCallFormat::kDeepSeekV32);
  EXPECT_EQ(tool_call_format("pythonic").status().message(),
            "unknown tool call parser \"pythonic\", known are none, deepseekv3, deepseekv31, "
            "deepseekv32, json_array");
}

}  // namespace
}  // namespace fathom::text
