#pragma once

#include <cstdint>
#include <optional>

#include "api/request_fields.h"

namespace fathom::api {

// Whether a chat request wants the model to think first. chat_template_kwargs decides (thinking,
// then enable_thinking), then reasoning, then reasoning_effort, then `fallback`.
bool read_thinking(FieldReader& fields, bool fallback);

// max_completion_tokens, else max_tokens; 0 counts as absent, and absent means as many as fit.
std::optional<std::int32_t> read_max_tokens(FieldReader& fields);

// tool_choice: the model may call tools or not; to make it call is not built yet.
void check_tool_choice(FieldReader& fields);

}  // namespace fathom::api
