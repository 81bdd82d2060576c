#include "text/answer_writer.h"

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

void AnswerWriter::begin_call(std::string_view name, bool told) {
  told_ = told;
  if (!told) return;
  AnswerPiece& piece = add(AnswerPiece::Kind::kCallBegin);
  piece.call = calls_++;
  piece.text = name;
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
