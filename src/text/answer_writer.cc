#include "text/answer_writer.h"

#include "base/log_bounds.h"

namespace fathom::text {

AnswerPiece& AnswerWriter::add(AnswerPiece::Kind kind) {
  AnswerPiece& piece = pieces_->emplace_back();
  piece.kind = kind;
  return piece;
}

void AnswerWriter::append(AnswerPiece::Kind kind, std::string_view text) {
  if (text.empty()) return;
  if (pieces_->size() > first_ && pieces_->back().kind == kind) {
    pieces_->back().text += text;
    return;
  }
  AnswerPiece& piece = add(kind);
  piece.text = text;
  if (kind == AnswerPiece::Kind::kCallArguments) piece.call = calls_ - 1;
}

const ToolTable::Tool* AnswerWriter::begin_call(std::string_view name) {
  const ToolTable::Tool* const tool = tools_.find(name);
  told_ = tool != nullptr || forward_unknown_tools_;
  if (!told_) {
    // A model that makes names up does so call after call.
    static LogRate rate(/*lines=*/10, /*interval_ns=*/10'000'000'000);
    log_warning(rate, "a tool call is dropped: the request has no tool " + quoted_for_log(name));
    return tool;
  }
  AnswerPiece& piece = add(AnswerPiece::Kind::kCallBegin);
  piece.call = calls_++;
  piece.text = name;
  return tool;
}

void AnswerWriter::arguments(std::string_view text) {
  if (told_) append(AnswerPiece::Kind::kCallArguments, text);
}

void AnswerWriter::stray(std::string_view text) {
  if (told_) stray_ += text;
}

void AnswerWriter::end_call(bool complete) {
  if (told_ && complete) add(AnswerPiece::Kind::kCallEnd).call = calls_ - 1;
  content(stray_);
  stray_.clear();
}

}  // namespace fathom::text
