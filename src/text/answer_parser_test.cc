#include "text/answer_parser.h"

#include <iostream>

#include <gtest/gtest.h>

namespace fathom::text {
namespace {
TEST(AnswerParser, Show) {
  const auto tools = parse_json(
      R"([{"type":"function","function":{"name":"search","parameters":{"properties":{"n":{"type":"string"}}}}}])");
  AnswerParser parser({.reasoning = ReasoningFormat::kDeepSeekV3,
                       .starts_thinking = true,
                       .tool_calls = ToolCallFormat::kDeepSeekV32,
                       .tools = tools->as_array()});
  const std::string text =
      "thoughts</think>Sure!\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke "
      "name=\"search\">\n<｜DSML｜parameter name=\"query\" string=\"true\">hi "
      "\"there</｜DSML｜parameter>\n<｜DSML｜parameter name=\"topn\" "
      "string=\"false\">10</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>";
  std::vector<AnswerPiece> pieces;
  for (char c : text) parser.push({&c, 1}, pieces);
  parser.finish(pieces);
  for (auto& p : pieces) std::cout << int(p.kind) << " " << p.call << " [" << p.text << "]\n";
}
}  // namespace
}  // namespace fathom::text
