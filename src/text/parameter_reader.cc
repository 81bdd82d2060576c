#include <array>

#include "base/json.h"
#include "text/call_reader.h"
#include "text/python_json.h"

namespace fathom::text {
namespace {

constexpr std::array<std::string_view, 3> kValueEnds = {kDsmlEndParameter, kDsmlEndInvoke,
                                                        kDsmlEndCalls};

using End = ReaderStep::End;

// The text of a value as JSON, empty when it is none. Numbers that JSON cannot say once they are
// written as Python does (1e999) stay as they were.
std::string as_json(std::string_view text) {
  const Result<Json> value = parse_json(text);
  if (!value.ok()) return {};
  std::string written;
  append_python_json(written, *value);
  return parse_json(written).ok() ? written : std::string(text);
}

bool may_become_json(std::string_view text) {
  JsonScanner scanner;
  return scanner.push(text) == text.size() && !scanner.broken();
}

}  // namespace

void ParameterReader::begin(const ToolTable::Tool* tool) {
  tool_ = tool;
  place_ = Place::kBetween;
  in_stray_ = false;
  seen_.clear();
}

ReaderStep ParameterReader::step(std::string_view rest, AnswerWriter& writer) {
  return place_ == Place::kBetween ? between(rest, writer) : inside_value(rest, writer);
}

ReaderStep ParameterReader::between(std::string_view rest, AnswerWriter& writer) {
  if (const std::size_t spaces = leading_spaces(rest); spaces > 0 && !in_stray_) return {spaces};
  if (rest.front() != '<') {
    const std::string_view text = rest.substr(0, rest.find('<'));
    in_stray_ = true;
    writer.stray(text);
    return {text.size()};
  }
  const ParameterTag tag = match_parameter_tag(rest);
  if (tag.match == Match::kYes) {
    begin_value(tag, writer);
    return {tag.size};
  }
  for (const std::string_view end : {kDsmlEndInvoke, kDsmlEndCalls}) {
    if (!rest.starts_with(end)) continue;
    end_call(writer);
    return {end.size(), false, end == kDsmlEndCalls ? End::kBlock : End::kCall};
  }
  MarkupCursor next(rest);
  if (next.literal(kDsmlInvoke) == Match::kYes && next.spaces(1) == Match::kYes) {
    end_call(writer);  // its own end is missing
    return {0, false, End::kCall};
  }
  const bool may_be_markup = tag.match == Match::kMore || kDsmlEndInvoke.starts_with(rest) ||
                             kDsmlEndCalls.starts_with(rest) || kDsmlInvoke.starts_with(rest) ||
                             (next.at() > 0 && next.spaces(1) == Match::kMore);
  if (may_be_markup) return {0, true};
  in_stray_ = true;
  writer.stray("<");
  return {1};
}

void ParameterReader::begin_value(const ParameterTag& tag, AnswerWriter& writer) {
  in_stray_ = false;
  place_ = tag.is_string ? Place::kString : Place::kOther;
  const bool first = seen_.empty();
  skips_ = !seen_.emplace(tag.name).second;
  wants_string_ = tool_ != nullptr && tool_->wants_string(tag.name);
  if (skips_) return;
  scratch_ = first ? "{" : ", ";
  append_json_string(scratch_, tag.name);
  scratch_ += tag.is_string ? ": \"" : ": ";
  writer.arguments(scratch_);
}

ReaderStep ParameterReader::inside_value(std::string_view rest, AnswerWriter& writer) {
  const MarkerPlace place = find_marker(rest, kValueEnds);
  take(rest.substr(0, place.at), writer);
  if (place.which < 0) return {place.at, true};
  end_value(writer);
  const std::string_view marker = kValueEnds[static_cast<std::size_t>(place.which)];
  const std::size_t used = place.at + marker.size();
  if (marker == kDsmlEndParameter) return {used};
  end_call(writer);
  return {used, false, marker == kDsmlEndCalls ? End::kBlock : End::kCall};
}

void ParameterReader::take(std::string_view text, AnswerWriter& writer) {
  std::string whole;
  repair_.push(text, whole);
  take_repaired(whole, writer);
}

void ParameterReader::take_repaired(std::string_view text, AnswerWriter& writer) {
  if (skips_) return;
  if (place_ == Place::kOther) {
    value_ += text;
  } else {
    write_string(text, writer);
  }
}

void ParameterReader::flush_repair(AnswerWriter& writer) {
  std::string whole;
  repair_.flush(whole);
  take_repaired(whole, writer);
}

// More of a string whose quotes are written elsewhere.
void ParameterReader::write_string(std::string_view text, AnswerWriter& writer) {
  scratch_.clear();
  append_json_string(scratch_, text);
  writer.arguments(std::string_view(scratch_).substr(1, scratch_.size() - 2));
}

void ParameterReader::end_value(AnswerWriter& writer) {
  flush_repair(writer);
  if (!skips_ && place_ == Place::kString) writer.arguments("\"");
  if (!skips_ && place_ == Place::kOther) write_other(writer);
  value_.clear();
  place_ = Place::kBetween;
}

void ParameterReader::write_other(AnswerWriter& writer) {
  const std::string_view text = trim_spaces(value_);
  std::string json = as_json(text);
  if (json.empty() || (wants_string_ && json.front() != '"' && json != "null")) {
    json.clear();
    append_json_string(json, text);
  }
  writer.arguments(json);
}

void ParameterReader::end_call(AnswerWriter& writer) {
  writer.arguments(seen_.empty() ? "{}" : "}");
  writer.end_call(true);
}

void ParameterReader::finish(std::string_view rest, AnswerWriter& writer) {
  if (place_ == Place::kBetween) {  // `rest` is part of a tag
    writer.end_call(false);
    return;
  }
  take(rest, writer);
  flush_repair(writer);
  if (!skips_ && place_ == Place::kOther) {
    const std::string_view text = trim_spaces(value_);
    if (wants_string_ || !may_become_json(text)) {
      if (!text.empty()) writer.arguments("\"");
      write_string(text, writer);
    } else {
      writer.arguments(text);
    }
  }
  writer.end_call(false);
}

}  // namespace fathom::text
