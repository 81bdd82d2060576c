#pragma once

#include <string>

#include "api/core.h"
#include "api/openai_reply.h"
#include "api/request_fields.h"

namespace fathom::api {

// What chat and completions read alike: rid, model, stream and stream_options. Logprobs and prompts
// are left to the caller.
AnswerFacts read_openai_facts(FieldReader& fields, const Core& core, std::uint32_t samples);

// The rid of a request for one answer: a string, or a list of one. A new one when there is none.
std::string read_rid(FieldReader& fields);

// The log-probabilities of an answer, none of its prompt.
wire::LogprobParams answer_logprobs(bool wanted, std::int32_t top, std::size_t prompt_tokens);

}  // namespace fathom::api
