#include "text/answer_parser.h"

#include <algorithm>
#include <array>
#include <utility>

#include "text/answer_writer.h"
#include "text/call_reader.h"
#include "text/chat_markers.h"
#include "text/markup_cursor.h"
#include "text/tool_markup.h"

namespace fathom::text {
namespace {

// Ends thoughts of kDeepSeekV3, and is content: a model that forgot </think> before a call of
// another family's form.
constexpr std::string_view kForeignToolCall = "<tool_call>";

constexpr std::array<std::pair<std::string_view, ReasoningFormat>, 3> kReasoningFormats = {
    {{"none", ReasoningFormat::kNone},
     {"deepseek-v3", ReasoningFormat::kDeepSeekV3},
     {"deepseek-r1", ReasoningFormat::kDeepSeekR1}}};
constexpr std::array<std::pair<std::string_view, ToolCallFormat>, 5> kToolCallFormats = {
    {{"none", ToolCallFormat::kNone},
     {"deepseekv3", ToolCallFormat::kDeepSeekV3},
     {"deepseekv31", ToolCallFormat::kDeepSeekV31},
     {"deepseekv32", ToolCallFormat::kDeepSeekV32},
     {"json_array", ToolCallFormat::kJsonArray}}};

template <class Table>
auto lookup(const Table& table, std::string_view name, std::string_view what)
    -> Result<typename Table::value_type::second_type> {
  std::string lower(name);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  std::string known;
  for (const auto& [known_name, format] : table) {
    if (known_name == lower) return format;
    if (!known.empty()) known += ", ";
    known += known_name;
  }
  return invalid_argument("unknown " + std::string(what) + " \"" + std::string(name) +
                          "\", known are " + known);
}

}  // namespace

Result<ReasoningFormat> reasoning_format(std::string_view name) {
  return lookup(kReasoningFormats, name, "reasoning parser");
}

Result<ToolCallFormat> tool_call_format(std::string_view name) {
  return lookup(kToolCallFormats, name, "tool call parser");
}

struct AnswerParser::State {
  enum class Place : std::uint8_t {
    kThoughtsBegin,  // where <think> is stripped
    kThoughts,
    kContent,
    kParameters,
    kJson,
    kArray,
  };

  explicit State(const AnswerParserOptions& given);

  void run(std::string_view& rest, bool final);
  bool step(std::string_view& rest, bool final);
  bool thoughts_begin(std::string_view& rest, bool final);
  bool thoughts(std::string_view& rest, bool final);
  bool content(std::string_view& rest, bool final);
  bool read_call(std::string_view& rest);
  std::optional<bool> space_after_call(std::string_view& rest, bool final);
  void push(std::string_view text);
  void finish();

  Match markup(std::string_view& rest, bool final);
  void open_call(const CallOpening& opening);
  void tell_thoughts(std::string_view text);
  void enter_thoughts();
  void leave_thoughts();
  Place content_begin() const {
    return options.tool_calls == ToolCallFormat::kJsonArray ? Place::kArray : Place::kContent;
  }
  bool has_markers() const {
    return options.tool_calls != ToolCallFormat::kNone &&
           options.tool_calls != ToolCallFormat::kJsonArray;
  }

  AnswerParserOptions options;
  AnswerWriter writer;
  ParameterReader parameters;
  JsonReader json;
  ArrayReader array;
  Place place = Place::kContent;
  bool thoughts_may_come = false;
  bool in_block = false;
  bool after_call = false;    // only white space since the last call or block
  std::string held_thoughts;  // until their end
  std::string held;           // text that may become markup
};

AnswerParser::State::State(const AnswerParserOptions& given) : options(given), writer(given) {
  const bool opened =
      options.reasoning == ReasoningFormat::kDeepSeekR1 ||
      (options.reasoning == ReasoningFormat::kDeepSeekV3 && options.starts_thinking);
  place = opened ? Place::kThoughtsBegin : content_begin();
  thoughts_may_come = options.reasoning != ReasoningFormat::kNone && !opened;
}

// Takes from `rest` until the remaining text is to wait. `final`: no more text comes, and what may
// become markup is none.
void AnswerParser::State::run(std::string_view& rest, bool final) {
  while (!rest.empty() && step(rest, final)) {
  }
}

// Returns false when the rest has to wait.
bool AnswerParser::State::step(std::string_view& rest, bool final) {
  switch (place) {
    case Place::kThoughtsBegin:
      return thoughts_begin(rest, final);
    case Place::kThoughts:
      return thoughts(rest, final);
    case Place::kContent:
      return content(rest, final);
    default:
      return read_call(rest);
  }
}

void AnswerParser::State::tell_thoughts(std::string_view text) {
  if (!options.separate_reasoning) {
    writer.content(text);
  } else if (options.stream_reasoning) {
    writer.reasoning(text);
  } else {
    held_thoughts += text;
  }
}

void AnswerParser::State::enter_thoughts() {
  thoughts_may_come = false;
  place = Place::kThoughtsBegin;
}

void AnswerParser::State::leave_thoughts() {
  writer.reasoning(held_thoughts);
  held_thoughts.clear();
  place = content_begin();
}

bool AnswerParser::State::thoughts_begin(std::string_view& rest, bool final) {
  if (rest.starts_with(kThink)) {
    if (!options.separate_reasoning) writer.content(kThink);
    rest.remove_prefix(kThink.size());
    return true;
  }
  if (!final && kThink.starts_with(rest)) return false;
  place = Place::kThoughts;
  return true;
}

bool AnswerParser::State::thoughts(std::string_view& rest, bool final) {
  static constexpr std::array<std::string_view, 2> kEnds = {kEndThink, kForeignToolCall};
  const std::size_t ends = options.reasoning == ReasoningFormat::kDeepSeekV3 ? 2 : 1;
  const MarkerPlace end = find_marker(rest, std::span(kEnds).first(ends));
  const std::size_t told = final && end.which < 0 ? rest.size() : end.at;
  tell_thoughts(rest.substr(0, told));
  rest.remove_prefix(told);
  if (end.which < 0) return false;
  leave_thoughts();
  if (end.which == 0) {
    if (!options.separate_reasoning) writer.content(kEndThink);
    rest.remove_prefix(kEndThink.size());
  }
  return true;
}

// Matches the markup that may stand in content at the front of `rest`, and takes it when it is
// there.
Match AnswerParser::State::markup(std::string_view& rest, bool final) {
  if (thoughts_may_come) {
    if (rest.starts_with(kThink)) {
      enter_thoughts();
      return Match::kYes;
    }
    if (!final && kThink.starts_with(rest)) return Match::kMore;
  }
  if (!has_markers()) return Match::kNo;
  const CallOpening opening = match_call_opening(options.tool_calls, rest);
  if (opening.match == Match::kYes || (final && opening.named && opening.match == Match::kMore)) {
    open_call(opening);
    // At the end of the answer what may follow is part of a tag.
    rest.remove_prefix(opening.match == Match::kYes ? opening.size : rest.size());
    return Match::kYes;
  }
  if (opening.match == Match::kMore && !final) return Match::kMore;
  if (!in_block && !after_call) return opening.match == Match::kMore ? Match::kMore : Match::kNo;
  const std::string_view end = calls_end_marker(options.tool_calls);
  if (rest.starts_with(end)) {
    rest.remove_prefix(end.size());
    in_block = false;
    after_call = true;
    return Match::kYes;
  }
  return opening.match == Match::kMore || end.starts_with(rest) ? Match::kMore : Match::kNo;
}

void AnswerParser::State::open_call(const CallOpening& opening) {
  in_block = in_block || opening.block;
  const ToolTable::Tool* const tool = writer.begin_call(opening.name);
  switch (opening.arguments) {
    case CallOpening::Arguments::kNone:
      writer.arguments("{}");
      writer.end_call(true);
      after_call = true;
      break;
    case CallOpening::Arguments::kParameters:
      parameters.begin(tool);
      place = Place::kParameters;
      break;
    case CallOpening::Arguments::kJson:
      json.begin(options.tool_calls);
      place = Place::kJson;
      break;
  }
}

// White space behind a call at the front of `rest`: it goes when markup or the end follows it.
// Returns nothing when text follows.
std::optional<bool> AnswerParser::State::space_after_call(std::string_view& rest, bool final) {
  const std::size_t spaces = leading_spaces(rest);
  if (spaces > kMaxMarkupSpaces) return std::nullopt;
  std::string_view behind = rest.substr(spaces);
  const Match match = behind.empty() ? Match::kMore : markup(behind, final);
  if (match == Match::kYes) {
    rest = behind;
    return true;
  }
  if (match == Match::kNo) return std::nullopt;
  if (!final) return false;
  if (!behind.empty() && !in_block) return std::nullopt;
  rest = {};  // what is cut within a block is its markup
  return true;
}

bool AnswerParser::State::content(std::string_view& rest, bool final) {
  if (after_call) {
    if (const std::optional<bool> goes_on = space_after_call(rest, final)) return *goes_on;
    after_call = false;
  }
  if (!has_markers() && !thoughts_may_come) {
    writer.content(rest);
    rest = {};
    return true;
  }
  const bool blank_lines = has_markers();
  for (std::size_t at = 0;; at = 1) {
    while (at < rest.size() && rest[at] != '<' && !(rest[at] == '\n' && blank_lines)) ++at;
    writer.content(rest.substr(0, at));
    rest.remove_prefix(at);
    if (rest.empty()) return true;
    const Match match = markup(rest, final);
    if (match == Match::kYes) return true;
    if (match == Match::kMore && !final) return false;
  }
}

bool AnswerParser::State::read_call(std::string_view& rest) {
  ReaderStep done;
  if (place == Place::kParameters) done = parameters.step(rest, writer);
  if (place == Place::kJson) done = json.step(rest, writer);
  if (place == Place::kArray) done = array.step(rest, writer);
  rest.remove_prefix(done.used);
  if (done.end == ReaderStep::End::kNone) return !done.waits;
  if (place == Place::kArray) array = {};
  place = Place::kContent;
  after_call = done.end != ReaderStep::End::kText;
  if (done.end == ReaderStep::End::kBlock) in_block = false;
  return true;
}

void AnswerParser::State::finish() {
  std::string_view rest = held;
  run(rest, true);
  if (place == Place::kParameters) parameters.finish(rest, writer);
  if (place == Place::kJson) json.finish(rest, writer);
  if (place == Place::kArray) array.finish(rest, writer);
  writer.reasoning(held_thoughts);
  held.clear();
  held_thoughts.clear();
}

void AnswerParser::State::push(std::string_view text) {
  if (held.empty()) {
    run(text, false);
    held = text;
    return;
  }
  held += text;
  std::string_view rest = held;
  run(rest, false);
  held.erase(0, held.size() - rest.size());
}

AnswerParser::AnswerParser(const AnswerParserOptions& options)
    : state_(std::make_unique<State>(options)) {}
AnswerParser::~AnswerParser() = default;
AnswerParser::AnswerParser(AnswerParser&&) noexcept = default;
AnswerParser& AnswerParser::operator=(AnswerParser&&) noexcept = default;

void AnswerParser::push(std::string_view text, std::vector<AnswerPiece>& pieces) {
  state_->writer.write_to(pieces);
  state_->push(text);
}

void AnswerParser::finish(std::vector<AnswerPiece>& pieces) {
  state_->writer.write_to(pieces);
  state_->finish();
}

bool AnswerParser::thinking() const {
  return state_->place == State::Place::kThoughtsBegin || state_->place == State::Place::kThoughts;
}

}  // namespace fathom::text
