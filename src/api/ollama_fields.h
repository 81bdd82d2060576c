#pragma once

#include "api/chat_request.h"
#include "api/request_fields.h"
#include "api/service.h"

namespace fathom::api {

// What Ollama's endpoints that generate read alike.

// format and options (num_predict, temperature, top_k, top_p, min_p, seed, stop, repeat_penalty,
// presence_penalty, frequency_penalty). What says "no limit" or "any seed" there (numbers below 0,
// a top_k of 0) is as if it were absent. Options about how a model is run are ignored.
SamplingFields read_ollama_sampling(FieldReader& fields, const ServiceOptions& options);

// think: true, false or an effort in words.
bool read_think(FieldReader& fields, bool fallback);

// `messages` in OpenAI's form: thinking becomes reasoning_content, and arguments of calls text. A
// last message of the assistant is continued unless it calls. Messages with images are refused.
void read_ollama_messages(FieldReader& fields, ChatRequest& out);

}  // namespace fathom::api
