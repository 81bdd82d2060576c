#pragma once

#include <string>

#include "api/request_fields.h"
#include "base/json.h"

namespace fathom::api {

// The conversation that the `input` of /v1/responses tells, as messages of chat: a text, which is
// one user message, or a list of items.
//
// - {"role","content"}, with or without "type": "message": content is a text or a list of parts of
//   the types input_text, output_text, text and refusal, joined by a blank. The role developer is
//   read as system: OpenAI gives both the same place, and this model's own developer messages are
//   questions.
// - System messages that follow each other, `instructions` before them, become one, with blank
//   lines between.
// - The items of one turn of the model (reasoning, messages, function_call) become one assistant
//   message; a message begins another turn unless calls are open. Reasoning that nothing follows is
//   dropped.
// - function_call_output belongs to the call of its turn with its call_id; outputs are put into the
//   order of the calls. A call without output, and an output without call, are refused.
//
// What is wrong is told to `fields`, with the item's index: "input[2].call_id: …".
Json::Array read_input(FieldReader& fields, const std::string& instructions);

}  // namespace fathom::api
