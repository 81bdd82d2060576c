#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/answer_parser.h"
#include "text/tool_table.h"

namespace fathom::text {

// Collects the pieces of an answer, joins neighbours of one kind, and numbers the calls.
class AnswerWriter {
 public:
  explicit AnswerWriter(const AnswerParserOptions& options)
      : tools_(options.tools), forward_unknown_tools_(options.forward_unknown_tools) {}

  // Pieces go to the end of `pieces` until the next call of this. Borrows it.
  void write_to(std::vector<AnswerPiece>& pieces) {
    pieces_ = &pieces;
    first_ = pieces.size();
  }

  // Empty text is no piece.
  void content(std::string_view text) { append(AnswerPiece::Kind::kContent, text); }
  void reasoning(std::string_view text) { append(AnswerPiece::Kind::kReasoning, text); }

  // Between begin_call() and end_call() only these three may be called. A call of an unknown tool
  // that is not to be forwarded leaves a line in the log, within a rate, and nothing else. Returns
  // what is known of the tool, null when nothing is; good while this lives.
  const ToolTable::Tool* begin_call(std::string_view name);
  // Requires UTF-8.
  void arguments(std::string_view text);
  // Text within the call that is not part of it. It is content behind the call.
  void stray(std::string_view text);
  // `complete`: the arguments are JSON.
  void end_call(bool complete);

 private:
  void append(AnswerPiece::Kind kind, std::string_view text);
  AnswerPiece& add(AnswerPiece::Kind kind);

  ToolTable tools_;
  bool forward_unknown_tools_;
  std::vector<AnswerPiece>* pieces_ = nullptr;
  std::size_t first_ = 0;
  std::int32_t calls_ = 0;  // that were told
  bool told_ = false;
  std::string stray_;
};

}  // namespace fathom::text
