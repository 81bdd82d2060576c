#include <array>

#include "text/call_reader.h"

namespace fathom::text {
namespace {

constexpr std::array<std::string_view, 2> kDsmlEnds = {kDsmlEndInvoke, kDsmlEndCalls};
constexpr std::array<std::string_view, 2> kToolEnds = {kEndToolCall, kEndToolCalls};

// White space, with the end of a fence in it where the format has one.
bool is_tail(std::string_view text, bool fenced) {
  text = trim_spaces(text);
  return text.empty() || (fenced && kFence.starts_with(text));
}

}  // namespace

void JsonReader::begin(ToolCallFormat format) {
  format_ = format;
  scanner_ = {};
  broken_ = false;
  empty_ = true;
  tail_.clear();
}

ReaderStep JsonReader::step(std::string_view rest, AnswerWriter& writer) {
  const auto& ends = format_ == ToolCallFormat::kDeepSeekV32 ? kDsmlEnds : kToolEnds;
  const MarkerPlace place = find_marker(rest, ends);
  take(rest.substr(0, place.at), writer);
  if (place.which < 0) return {place.at, true};
  end_call(writer);
  const std::size_t used = place.at + ends[static_cast<std::size_t>(place.which)].size();
  return {used, false, place.which == 1 ? ReaderStep::End::kBlock : ReaderStep::End::kCall};
}

void JsonReader::take(std::string_view text, AnswerWriter& writer) {
  std::string whole;
  repair_.push(text, whole);
  take_repaired(whole, writer);
}

void JsonReader::take_repaired(std::string_view text, AnswerWriter& writer) {
  if (text.empty()) return;
  empty_ = false;
  if (!broken_ && !scanner_.done()) {
    const std::size_t read = scanner_.push(text);
    writer.arguments(text.substr(0, read));
    text.remove_prefix(read);
    broken_ = scanner_.broken();
  }
  while (!text.empty() && !broken_) take_tail(text, writer);
  writer.arguments(text);
}

// Takes a byte behind the value. White space is remembered up to a bound.
void JsonReader::take_tail(std::string_view& text, AnswerWriter& writer) {
  const char c = text.front();
  const bool space = is_markup_space(c);
  if (!space || tail_.size() < kMaxMarkupSpaces) tail_ += c;
  text.remove_prefix(1);
  if (space || is_tail(tail_, format_ == ToolCallFormat::kDeepSeekV3)) return;
  broken_ = true;
  writer.arguments(tail_);
  tail_.clear();
}

void JsonReader::end_call(AnswerWriter& writer) {
  std::string whole;
  repair_.flush(whole);
  take_repaired(whole, writer);
  if (empty_) writer.arguments("{}");
  writer.end_call(empty_ || (scanner_.done() && !broken_));
}

void JsonReader::finish(std::string_view rest, AnswerWriter& writer) {
  std::string whole;
  repair_.push(rest, whole);
  repair_.flush(whole);
  take_repaired(whole, writer);
  writer.end_call(scanner_.done() && !broken_);
}

}  // namespace fathom::text
