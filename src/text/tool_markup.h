#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "text/answer_parser.h"
#include "text/markup_cursor.h"

namespace fathom::text {

// DSML. The bars are U+FF5C.
constexpr std::string_view kDsmlCalls = "<｜DSML｜function_calls>";
constexpr std::string_view kDsmlEndCalls = "</｜DSML｜function_calls>";
constexpr std::string_view kDsmlInvoke = "<｜DSML｜invoke";
constexpr std::string_view kDsmlEndInvoke = "</｜DSML｜invoke>";
constexpr std::string_view kDsmlParameter = "<｜DSML｜parameter";
constexpr std::string_view kDsmlEndParameter = "</｜DSML｜parameter>";

// DeepSeek-V3 and V3.1. The low lines are U+2581.
constexpr std::string_view kToolCalls = "<｜tool▁calls▁begin｜>";
constexpr std::string_view kEndToolCalls = "<｜tool▁calls▁end｜>";
constexpr std::string_view kToolCall = "<｜tool▁call▁begin｜>";
constexpr std::string_view kEndToolCall = "<｜tool▁call▁end｜>";
constexpr std::string_view kToolSeparator = "<｜tool▁sep｜>";
constexpr std::string_view kFence = "```";

// How a block of calls ends. Requires a format with markers.
constexpr std::string_view calls_end_marker(ToolCallFormat format) {
  return format == ToolCallFormat::kDeepSeekV32 ? kDsmlEndCalls : kEndToolCalls;
}

// The markup in front of a call's arguments: a blank line, the marker of a block, both optional,
// and the call's own up to its name.
struct CallOpening {
  enum class Arguments : std::uint8_t {
    kNone,        // the call ends with this markup
    kParameters,  // DSML parameters, or the end of the call
    kJson,
  };
  Match match = Match::kNo;
  bool named = false;  // the markup is whole, though kMore is to show what arguments it has
  bool block = false;  // it opens a block
  Arguments arguments = Arguments::kNone;
  std::string_view name;
  std::size_t size = 0;  // up to the arguments
};

// Matches it at the front of `text`. It is kYes when the arguments begin as they must: with a
// whole parameter tag, an opening brace, or the call's end. Requires a format with markers.
CallOpening match_call_opening(ToolCallFormat format, std::string_view text);

// <｜DSML｜parameter name="…" string="…">. Without the second attribute the value's type is open.
struct ParameterTag {
  Match match = Match::kNo;
  std::string_view name;
  bool is_string = false;  // string="true"
  std::size_t size = 0;
};
ParameterTag match_parameter_tag(std::string_view text);

}  // namespace fathom::text
