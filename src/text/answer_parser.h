#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace fathom::text {

// How a model marks its thoughts.
enum class ReasoningFormat : std::uint8_t {
  kNone,        // there is no such thing: all is content
  kDeepSeekV3,  // begins inside thoughts only when the prompt opened them
  kDeepSeekR1,  // always begins inside thoughts
};

// How a model writes tool calls.
enum class ToolCallFormat : std::uint8_t {
  kNone,         // all is content
  kDeepSeekV3,   // markers, type, name and a fenced block of JSON
  kDeepSeekV31,  // markers, name and JSON
  kDeepSeekV32,  // DSML
  kJsonArray,  // the whole content is [{"name":…,"parameters":{…}},…]: what a constraint without
               // markers makes of tool_choice "required"
};

// The flags' names for them: "deepseek-v3", "deepseekv32", "json_array" …, case ignored.
// kInvalidArgument lists the known ones. "none" is kNone; "auto" is the caller's to resolve.
Result<ReasoningFormat> reasoning_format(std::string_view name);
Result<ToolCallFormat> tool_call_format(std::string_view name);

struct AnswerParserOptions {
  ReasoningFormat reasoning = ReasoningFormat::kNone;
  bool starts_thinking = false;    // the prompt opened the thoughts (kDeepSeekV3)
  bool separate_reasoning = true;  // false: thoughts stay in the content, markers and all
  bool stream_reasoning = true;    // false: thoughts come in one piece, at their end
  ToolCallFormat tool_calls = ToolCallFormat::kNone;
  // The request's tools (OpenAI's `tools` array): their names decide which calls are known, their
  // schemas the types of parameters. Null: none. Outlives the parser.
  const Json::Array* tools = nullptr;
  bool forward_unknown_tools = false;  // calls of other names are told, too
};

// One piece of an answer. Pieces of one kind that follow each other may be joined.
struct AnswerPiece {
  enum class Kind : std::uint8_t {
    kReasoning,      // `text`: more of the thoughts
    kContent,        // `text`: more of the content
    kCallBegin,      // call number `call` of the function `text`
    kCallArguments,  // `text`: more of the call's arguments, as JSON text
    kCallEnd,        // the call is complete and its arguments are a JSON object
  };
  Kind kind = Kind::kContent;
  std::int32_t call = 0;  // ordinal among the calls that are told, from 0
  std::string text;
  bool operator==(const AnswerPiece&) const = default;
};

// Splits the text of one answer into thoughts, content and tool calls as it comes. How the text is
// cut into push() calls changes how pieces are cut, never what they say together; a whole answer is
// one push(). Nothing is told twice and nothing is lost but what belongs to the markup.
//
// Thoughts:
// - <think> at their very start is no part of them. They end at the first </think>; those of
//   kDeepSeekV3 also at <tool_call>, which is content, as in SGLang 0.5.23. White space stays.
// - kDeepSeekV3 without starts_thinking: the first <think> in content begins them.
// - Markup of calls within thoughts is their text, with separate_reasoning off, too.
//
// Calls:
// - A block begins when a call in it does: the call's markup is whole and arguments, or the call's
//   end, follow. Until then nothing of it is told; when it turns out otherwise, or the answer ends
//   first, all of it is content, verbatim. Only at the end of an answer a call whose markup is
//   whole needs nothing behind it.
// - The blank line that only introduces a block, and white space between and after calls (up to 512
//   bytes of it) are markup. All blocks count, and calls without a block. Other text is content.
// - Between kCallBegin and kCallEnd come only this call's kCallArguments. Text in a call that is
//   neither parameter nor white space is content behind the call.
// - DSML parameters become the JSON object that Python's json.dumps would write. string="true" is a
//   string, verbatim, and comes as it is written. Other values come at their end: as JSON if they
//   are, unless the schema allows only strings, else as a string without the white space around it
//   (so do NaN, Infinity, and arrays and objects more than JsonLimits::max_depth deep). Of a
//   parameter given twice the first counts. The tag that ends a call or a block closes what is open
//   inside; between parameters the next call's tag does, too.
// - Arguments that are written as JSON come verbatim. If they are none, they come all the same, up
//   to the call's end, without kCallEnd.
// - A call that the end of the answer cuts keeps its arguments as they stood, without kCallEnd
// unless
//   they are written as JSON and whole.
// - A call of an unknown tool leaves a line in the log; what else was in its block counts.
//
// Held back: what may still become markup, at most a few KiB; a DSML value that is no string; an
// element of kJsonArray that does not begin with its name; text within a call; with
// stream_reasoning off, the thoughts. Cost is linear in the text. Threads: one at a time.
class AnswerParser {
 public:
  explicit AnswerParser(const AnswerParserOptions& options);
  ~AnswerParser();
  AnswerParser(AnswerParser&&) noexcept;
  AnswerParser& operator=(AnswerParser&&) noexcept;

  // Appends what `text` makes certain to `pieces`.
  void push(std::string_view text, std::vector<AnswerPiece>& pieces);
  // The answer is over: what was held back. Nothing may be pushed afterwards.
  void finish(std::vector<AnswerPiece>& pieces);

  // Whether the text so far ends inside thoughts.
  bool thinking() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fathom::text
