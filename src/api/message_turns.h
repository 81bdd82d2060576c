#pragma once

#include "base/json.h"
#include "base/status.h"

// The conversation of an Anthropic request in the form in which the rest of the API reads one.
namespace fathom::api {

// Appends `system` (a text or text blocks; null: none) and `messages` to `out` as OpenAI's
// messages:
//
// - Text blocks of a user become text parts, those of an assistant one text.
// - thinking becomes reasoning_content; redacted_thinking, which nobody here can read, is left out.
// - tool_use becomes tool_calls. The message behind it must have one tool_result for each of them;
//   these become tool messages in the order of the calls, before whatever text is beside them.
// - Whether a result is an error is not told to the model: its form has no place for it.
//
// A last message of the assistant stays one: it is there to be continued. kInvalidArgument names
// the place: "messages[2]: content[0].type: was \"image\", …".
Status read_turns(const Json* system, const Json& messages, Json::Array& out);

}  // namespace fathom::api
