#pragma once

#include <string>
#include <vector>

#include "text/answer_parser.h"
#include "text/answer_testing.h"

namespace fathom::text {

// A recorded answer and what is to be told of it. Only tests use it.
struct AnswerCase {
  std::string name = {};
  std::string text = {};
  ToldAnswer told = {};
  ToolCallFormat tool_calls = ToolCallFormat::kDeepSeekV32;
  ReasoningFormat reasoning = ReasoningFormat::kNone;
  bool starts_thinking = false;
  bool separate_reasoning = true;
  bool forward_unknown_tools = false;

  // Offers the tools search, now, and phone, whose `number` is a string by its schema.
  AnswerParserOptions options() const;
};

const std::vector<AnswerCase>& answer_cases();

}  // namespace fathom::text
