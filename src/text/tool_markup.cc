#include "text/tool_markup.h"

namespace fathom::text {
namespace {

// The first of these to answer other than kYes, each evaluated only after the one before.
template <class... Steps>
Match all_of(const Steps&... steps) {
  Match match = Match::kYes;
  static_cast<void>(((match = steps(), match == Match::kYes) && ...));
  return match;
}

Match optional(MarkupCursor& cursor, std::string_view wanted) {
  const Match match = cursor.literal(wanted);
  return match == Match::kNo ? Match::kYes : match;
}

// `block` and white space, or neither, and then `call`.
Match block_and_call(MarkupCursor& cursor,
                     std::string_view block,
                     std::string_view call,
                     bool& has_block) {
  const Match match = cursor.literal(block);
  if (match == Match::kNo) return cursor.literal(call);
  has_block = true;
  return all_of([&] { return match; }, [&] { return cursor.spaces(); },
                [&] { return cursor.literal(call); });
}

using Arguments = CallOpening::Arguments;

// What follows a DSML call's tag.
Match dsml_arguments(MarkupCursor cursor, CallOpening& opening) {
  if (const Match match = cursor.spaces(); match != Match::kYes) return match;
  if (cursor.rest().front() == '{') {
    opening.arguments = Arguments::kJson;
    opening.size = cursor.at();
    return Match::kYes;
  }
  const Match end = cursor.literal(kDsmlEndInvoke);
  return end != Match::kNo ? end : match_parameter_tag(cursor.rest()).match;
}

Match dsml_opening(MarkupCursor& cursor, CallOpening& opening) {
  const Match tag =
      all_of([&] { return block_and_call(cursor, kDsmlCalls, kDsmlInvoke, opening.block); },
             [&] { return cursor.spaces(1); }, [&] { return cursor.literal("name=\""); },
             [&] { return cursor.until('"', opening.name); }, [&] { return cursor.spaces(); });
  if (tag != Match::kYes) return tag;
  if (const Match closed = cursor.literal("/>"); closed != Match::kNo) {
    opening.size = cursor.at();
    return closed;
  }
  if (const Match end = cursor.literal(">"); end != Match::kYes) return end;
  opening.named = true;
  opening.arguments = Arguments::kParameters;
  opening.size = cursor.at();
  return dsml_arguments(cursor, opening);
}

// What follows the name of a call between tool_call markers.
Match json_arguments(MarkupCursor cursor, CallOpening& opening) {
  const Match begin = cursor.spaces();
  if (begin != Match::kYes) return begin;
  opening.size = cursor.at();
  if (cursor.rest().front() == '{') return Match::kYes;
  return cursor.literal(kEndToolCall);
}

Match v31_opening(MarkupCursor& cursor, CallOpening& opening) {
  const Match match =
      all_of([&] { return block_and_call(cursor, kToolCalls, kToolCall, opening.block); },
             [&] { return cursor.until('<', opening.name); },
             [&] { return cursor.literal(kToolSeparator.substr(1)); });
  if (match != Match::kYes) return match;
  opening.named = true;
  opening.arguments = Arguments::kJson;
  opening.size = cursor.at();
  return json_arguments(cursor, opening);
}

Match v3_opening(MarkupCursor& cursor, CallOpening& opening) {
  std::string_view type;
  const Match match =
      all_of([&] { return block_and_call(cursor, kToolCalls, kToolCall, opening.block); },
             [&] { return cursor.until('<', type); },
             [&] { return cursor.literal(kToolSeparator.substr(1)); },
             [&] { return cursor.until('\n', opening.name); });
  if (match != Match::kYes) return match;
  opening.named = true;
  opening.arguments = Arguments::kJson;
  opening.size = cursor.at();
  const Match fence =
      all_of([&] { return cursor.spaces(); }, [&] { return optional(cursor, "```json"); },
             [&] { return optional(cursor, kFence); });
  return fence == Match::kYes ? json_arguments(cursor, opening) : fence;
}

}  // namespace

CallOpening match_call_opening(ToolCallFormat format, std::string_view text) {
  CallOpening opening;
  MarkupCursor cursor(text);
  if (text.starts_with('\n')) {
    opening.match = cursor.literal("\n\n");
    if (opening.match != Match::kYes) return opening;
  }
  switch (format) {
    case ToolCallFormat::kDeepSeekV32:
      opening.match = dsml_opening(cursor, opening);
      break;
    case ToolCallFormat::kDeepSeekV31:
      opening.match = v31_opening(cursor, opening);
      break;
    default:
      opening.match = v3_opening(cursor, opening);
      break;
  }
  opening.name = trim_spaces(opening.name);
  if (opening.name.empty() && opening.match == Match::kYes) opening.match = Match::kNo;
  if (opening.name.empty()) opening.named = false;
  return opening;
}

ParameterTag match_parameter_tag(std::string_view text) {
  ParameterTag tag;
  MarkupCursor cursor(text);
  tag.match = all_of([&] { return cursor.literal(kDsmlParameter); },
                     [&] { return cursor.spaces(1); }, [&] { return cursor.literal("name=\""); },
                     [&] { return cursor.until('"', tag.name); }, [&] { return cursor.spaces(); });
  if (tag.match != Match::kYes) return tag;
  if (cursor.rest().front() != '>') {
    std::string_view is_string;
    tag.match = all_of([&] { return cursor.literal("string=\""); },
                       [&] { return cursor.until('"', is_string); },
                       [&] { return cursor.spaces(); }, [&] { return cursor.literal(">"); });
    tag.is_string = is_string == "true";
  } else {
    tag.match = cursor.literal(">");
  }
  tag.size = cursor.at();
  return tag;
}

}  // namespace fathom::text
