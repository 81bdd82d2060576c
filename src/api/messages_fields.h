#pragma once

#include "api/chat_request.h"
#include "api/request_fields.h"
#include "api/service.h"

namespace fathom::api {

// What Anthropic's Messages and their token count read alike: messages, system, tools, tool_choice
// and thinking. A conversation that ends with the assistant is continued, without thoughts unless
// the body asks for them, which is refused.
void read_messages_conversation(FieldReader& fields, bool default_thinking, ChatRequest& out);

// max_tokens, which must be there, temperature, top_p, top_k, stop_sequences and the format of the
// answer (output_config.format, output_format); beside them min_p, seed and ignore_eos of the other
// endpoints.
SamplingFields read_messages_sampling(FieldReader& fields, const ServiceOptions& options);

}  // namespace fathom::api
