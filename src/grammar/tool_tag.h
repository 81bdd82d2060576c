#pragma once

#include <span>
#include <string>

#include "base/json.h"
#include "base/status.h"

namespace fathom::grammar {

// A tool that the model may call.
struct ToolSchema {
  std::string name;
  // The JSON Schema of its arguments, an object; null: any arguments.
  Json parameters;
  // Whether the arguments must satisfy `parameters`; else any arguments pass.
  bool strict = false;
};

struct ToolChoice {
  enum class Mode : std::uint8_t {
    kAuto,      // text, calls or both
    kRequired,  // at least one call and nothing else
    kNamed,     // exactly one call, of `name`
  };
  Mode mode = Mode::kAuto;
  std::string name = {};  // of kNamed
  bool parallel = true;   // false: at most one call; exactly one where calls are required
};

// The structural tag (Kind::kStructuralTag) of an answer with calls in DeepSeek-V3.2's DSML, which
// the encoding writes as "<｜DSML｜invoke …>". Parameters come in the order of the schema; those of
// a tool that is not strict are free. After the block the answer ends.
//
// kInvalidArgument: no tools, a name used twice or with characters that cannot stand in the mark-up
// (anything but letters, digits, "_", "-" and "."), or a named tool that is not there.
Result<std::string> tool_call_tag(std::span<const ToolSchema> tools, const ToolChoice& choice);

}  // namespace fathom::grammar
