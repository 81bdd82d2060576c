#include "base/json.h"
#include "text/call_reader.h"
#include "text/python_json.h"

namespace fathom::text {
namespace {

using End = ReaderStep::End;

// {"name":"…","parameters":{ up to the last brace.
struct ElementOpening {
  Match match = Match::kNo;
  std::string_view name;  // as JSON
  std::size_t size = 0;
};

// A string with its quotes, which is JSON if what it says is.
Match quoted(MarkupCursor& cursor, std::string_view& found) {
  const std::string_view rest = cursor.rest();
  if (rest.empty()) return Match::kMore;
  if (rest.front() != '"') return Match::kNo;
  std::size_t at = 1;
  while (at < rest.size() && at <= kMaxMarkupName && rest[at] != '"') {
    at += rest[at] == '\\' ? 2 : 1;
  }
  if (at > kMaxMarkupName) return Match::kNo;
  if (at >= rest.size()) return Match::kMore;
  found = rest.substr(0, at + 1);
  return cursor.literal(found);
}

ElementOpening match_element_opening(std::string_view text) {
  ElementOpening opening;
  MarkupCursor cursor(text);
  std::string_view second;
  const auto literal = [&](std::string_view wanted) {
    opening.match = cursor.literal(wanted);
    return opening.match == Match::kYes;
  };
  const auto spaces = [&] {
    opening.match = cursor.spaces();
    return opening.match == Match::kYes;
  };
  const auto string = [&](std::string_view& found) {
    opening.match = quoted(cursor, found);
    return opening.match == Match::kYes;
  };
  const bool whole = literal("{") && spaces() && literal("\"name\"") && spaces() && literal(":") &&
                     spaces() && string(opening.name) && spaces() && literal(",") && spaces() &&
                     string(second) && spaces() && literal(":") && spaces();
  if (!whole) return opening;
  const bool is_call = (second == "\"parameters\"" || second == "\"arguments\"") &&
                       cursor.rest().front() == '{' && opening.name != "\"\"" &&
                       parse_json(opening.name).ok();
  opening.match = is_call ? Match::kYes : Match::kNo;
  opening.size = cursor.at();
  return opening;
}

}  // namespace

ReaderStep ArrayReader::step(std::string_view rest, AnswerWriter& writer) {
  switch (place_) {
    case Place::kBegin:
      return begin(rest, writer);
    case Place::kElement:
      return element(rest, writer);
    case Place::kArguments:
      return arguments(rest, writer);
    case Place::kRest:
      return rest_of_element(rest, writer);
    case Place::kWhole:
      return whole(rest, writer);
    default:
      return next(rest);
  }
}

// There are no more calls: what was held is text, and so is what follows.
ReaderStep ArrayReader::text(std::size_t used, AnswerWriter& writer) {
  writer.content(held_);
  held_.clear();
  return {used, false, End::kText};
}

ReaderStep ArrayReader::begin(std::string_view rest, AnswerWriter& writer) {
  MarkupCursor cursor(rest);
  Match match = cursor.spaces();
  if (match == Match::kYes) match = cursor.literal("[");
  if (match == Match::kYes) match = cursor.spaces();
  if (match == Match::kMore) return {0, true};
  if (match == Match::kNo) return text(0, writer);
  held_ = rest.substr(0, cursor.at());
  place_ = Place::kElement;
  return {cursor.at()};
}

ReaderStep ArrayReader::element(std::string_view rest, AnswerWriter& writer) {
  const ElementOpening opening = match_element_opening(rest);
  if (opening.match == Match::kMore) return {0, true};
  scanner_ = {};
  if (opening.match == Match::kNo) {
    if (rest.front() != '{') return text(0, writer);
    place_ = Place::kWhole;
    return {};
  }
  held_.clear();
  writer.begin_call(*parse_json(opening.name)->as_string());
  any_calls_ = true;
  place_ = Place::kArguments;
  return {opening.size};
}

ReaderStep ArrayReader::arguments(std::string_view rest, AnswerWriter& writer) {
  const std::size_t read = scanner_.push(rest);
  std::string whole;
  repair_.push(rest.substr(0, read), whole);
  if (scanner_.done() || scanner_.broken()) repair_.flush(whole);
  writer.arguments(whole);
  if (scanner_.broken()) {
    writer.end_call(false);
    return text(read, writer);
  }
  if (!scanner_.done()) return {read, true};
  writer.end_call(true);
  place_ = Place::kRest;
  scanner_ = {};
  scanner_.push(R"({"":"")");  // where the element stands now, in short
  return {read};
}

ReaderStep ArrayReader::rest_of_element(std::string_view rest, AnswerWriter& writer) {
  const std::size_t read = scanner_.push(rest);
  held_ += rest.substr(0, read);
  if (scanner_.broken()) return text(read, writer);
  if (!scanner_.done()) return {read, true};
  held_.clear();
  place_ = Place::kNext;
  return {read};
}

ReaderStep ArrayReader::whole(std::string_view rest, AnswerWriter& writer) {
  const std::size_t read = scanner_.push(rest);
  held_ += rest.substr(0, read);
  if (scanner_.broken()) return text(read, writer);
  if (!scanner_.done()) return {read, true};
  if (!tell_whole(writer)) return text(read, writer);
  held_.clear();
  place_ = Place::kNext;
  return {read};
}

bool ArrayReader::tell_whole(AnswerWriter& writer) {
  const Result<Json> element =
      parse_json(std::string_view(held_).substr(held_.find('{')));  // behind [ or a comma
  const Json* const name = element.ok() ? element->find("name") : nullptr;
  if (name == nullptr || !name->is_string() || name->as_string()->empty()) return false;
  const Json* arguments = element->find_set("parameters");
  if (arguments == nullptr) arguments = element->find_set("arguments");
  if (arguments != nullptr && !arguments->is_object()) return false;
  std::string written = "{}";
  if (arguments != nullptr) {
    written.clear();
    append_python_json(written, *arguments);
    if (!parse_json(written).ok()) written = to_json(*arguments);
  }
  writer.begin_call(*name->as_string());
  writer.arguments(written);
  writer.end_call(true);
  any_calls_ = true;
  return true;
}

ReaderStep ArrayReader::next(std::string_view rest) {
  MarkupCursor cursor(rest);
  Match match = cursor.spaces();
  if (match == Match::kMore) return {0, true};
  if (match == Match::kYes && cursor.literal("]") == Match::kYes) {
    return {cursor.at(), false, End::kBlock};
  }
  if (match == Match::kYes) match = cursor.literal(",");
  if (match == Match::kYes) match = cursor.spaces();
  if (match == Match::kMore) return {0, true};
  if (match == Match::kNo) return {0, false, End::kText};
  held_ = rest.substr(0, cursor.at());
  place_ = Place::kElement;
  return {cursor.at()};
}

void ArrayReader::finish(std::string_view rest, AnswerWriter& writer) {
  if (place_ == Place::kArguments) {
    std::string whole;
    repair_.flush(whole);
    writer.arguments(whole);
    writer.end_call(false);
    return;
  }
  // What is cut between the calls is markup.
  if (any_calls_ && place_ != Place::kWhole) return;
  writer.content(held_);
  writer.content(rest);
}

}  // namespace fathom::text
