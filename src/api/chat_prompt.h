#pragma once

#include <optional>
#include <vector>

#include "api/refusal.h"
#include "base/json.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "wire/messages.h"

namespace fathom::api {

// The prompt of a chat: the request's `messages` with its `tools`, rendered and encoded
// (text/chat_encoding.h). As SGLang does it:
//
// - Tools belong to the first message, which is made a system message if it is none; they replace
//   what that message brought.
// - A last message of the assistant is continued with continue_final_message: its text comes behind
//   everything, encoded by itself. Without, it is read as a user's.
//
// With a template (text/chat_template.h) that renders instead, and what is continued is encoded
// together with the prompt.
std::optional<Refusal> encode_chat(const text::Tokenizer& tokenizer,
                                   const text::ChatTemplate* chat_template,
                                   const Json& body,
                                   bool thinking,
                                   std::vector<wire::TokenId>& out);

}  // namespace fathom::api
