#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>

#include "text/answer_writer.h"
#include "text/json_scanner.h"
#include "text/tool_markup.h"
#include "text/tool_table.h"
#include "text/utf8.h"

namespace fathom::text {

// What a reader did with the front of the text that is there.
struct ReaderStep {
  std::size_t used = 0;  // bytes it is done with
  bool waits = false;    // it can do nothing more until text is added
  enum class End : std::uint8_t {
    kNone,
    kCall,   // the call is over
    kBlock,  // and so is the block it is in
    kText,   // what follows is no call but text
  };
  End end = End::kNone;  // the call is over, or the block with it
};

// Reads the parameters of a DSML call, and writes them as the JSON object that Python's json.dumps
// would write. A string goes out as it comes, escaped. Any other value is held until its end shows
// whether it is JSON: if not, it is a string. A tag that closes the call, or the block, closes what
// is still open inside.
class ParameterReader {
 public:
  // A call begins. `tool` describes its parameters; null: nothing does. Borrows it.
  void begin(const ToolTable::Tool* tool);
  ReaderStep step(std::string_view rest, AnswerWriter& writer);
  // The answer ends within the call, with `rest` that step() waited on.
  void finish(std::string_view rest, AnswerWriter& writer);

 private:
  enum class Place : std::uint8_t { kBetween, kString, kOther };

  ReaderStep between(std::string_view rest, AnswerWriter& writer);
  ReaderStep inside_value(std::string_view rest, AnswerWriter& writer);
  void begin_value(const ParameterTag& tag, AnswerWriter& writer);
  void take(std::string_view text, AnswerWriter& writer);
  void take_repaired(std::string_view text, AnswerWriter& writer);
  void flush_repair(AnswerWriter& writer);
  void end_value(AnswerWriter& writer);
  void end_call(AnswerWriter& writer);
  void write_string(std::string_view text, AnswerWriter& writer);
  void write_other(AnswerWriter& writer);

  const ToolTable::Tool* tool_ = nullptr;
  Place place_ = Place::kBetween;
  bool in_stray_ = false;      // text that is no parameter has begun
  bool skips_ = false;         // the value is a repeated parameter's
  bool wants_string_ = false;  // the schema of the value says so
  std::unordered_set<std::string> seen_;
  std::string value_;  // one that is no string, so far
  std::string scratch_;
  Utf8Repair repair_;
};

// Reads arguments that are written as JSON, verbatim up to the marker that ends the call. White
// space around them, and the end of a fence, are no part of them.
class JsonReader {
 public:
  void begin(ToolCallFormat format);
  ReaderStep step(std::string_view rest, AnswerWriter& writer);
  void finish(std::string_view rest, AnswerWriter& writer);

 private:
  void take(std::string_view text, AnswerWriter& writer);
  void take_repaired(std::string_view text, AnswerWriter& writer);
  void take_tail(std::string_view& text, AnswerWriter& writer);
  void end_call(AnswerWriter& writer);

  ToolCallFormat format_ = ToolCallFormat::kNone;
  JsonScanner scanner_;
  bool broken_ = false;
  bool empty_ = true;
  std::string tail_;  // what follows the value, while it may be all that does
  std::string scratch_;
  Utf8Repair repair_;
};

// Reads [{"name":…,"parameters":{…}},…]; "arguments" will do for "parameters". Arguments go out as
// they come when the name comes first and they second. Any other element is held until its end and
// written as Python's json.dumps would. What is no such array, or from an element on that is none,
// is text.
class ArrayReader {
 public:
  ReaderStep step(std::string_view rest, AnswerWriter& writer);
  void finish(std::string_view rest, AnswerWriter& writer);

 private:
  enum class Place : std::uint8_t { kBegin, kElement, kArguments, kRest, kWhole, kNext };

  ReaderStep begin(std::string_view rest, AnswerWriter& writer);
  ReaderStep element(std::string_view rest, AnswerWriter& writer);
  ReaderStep arguments(std::string_view rest, AnswerWriter& writer);
  ReaderStep rest_of_element(std::string_view rest, AnswerWriter& writer);
  ReaderStep whole(std::string_view rest, AnswerWriter& writer);
  ReaderStep next(std::string_view rest);
  bool tell_whole(AnswerWriter& writer);
  ReaderStep text(std::size_t used, AnswerWriter& writer);

  Place place_ = Place::kBegin;
  bool any_calls_ = false;
  std::string held_;  // text since the last call's end, if it turns out to be no call
  JsonScanner scanner_;
  Utf8Repair repair_;
};

}  // namespace fathom::text
