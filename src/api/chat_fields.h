#pragma once

#include <cstdint>
#include <optional>

#include "api/chat_request.h"
#include "api/request_fields.h"

namespace fathom::api {

// Whether a chat request wants the model to think first. chat_template_kwargs decides (thinking,
// then enable_thinking), then reasoning, then reasoning_effort, then `fallback`.
bool read_thinking(FieldReader& fields, bool fallback);

// max_completion_tokens, else max_tokens; 0 counts as absent, and absent means as many as fit.
std::optional<std::int32_t> read_max_tokens(FieldReader& fields);

// What /v1/chat/completions says about the conversation: messages, tools, tool_choice,
// parallel_tool_calls, whether to think, continue_final_message, separate_reasoning and
// stream_reasoning. Roles may be written in any case.
void read_conversation(FieldReader& fields, bool default_thinking, ChatRequest& out);

}  // namespace fathom::api
