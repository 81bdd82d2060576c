#pragma once

#include <string>

#include "api/chat_request.h"
#include "api/request_fields.h"

namespace fathom::api {

// Reads what the body of /v1/responses has of its own into `out`: input, instructions, tools,
// tool_choice, parallel_tool_calls, max_output_tokens, text, reasoning, include, top_logprobs. What
// a server without stored responses and without tools of its own cannot do is refused by the
// field's name. Requires that `out.sampling` is read.
void read_response_fields(FieldReader& fields, bool default_thinking, ChatRequest& out);

// The settings that a response repeats, as members of a JSON object. Requires fields.ok() behind
// read_response_fields().
std::string response_settings(FieldReader& fields, const ChatRequest& request);

}  // namespace fathom::api
