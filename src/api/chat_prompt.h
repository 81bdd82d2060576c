#pragma once

#include <optional>
#include <vector>

#include "api/chat_request.h"
#include "api/refusal.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "wire/messages.h"

namespace fathom::api {

struct EncodedChat {
  std::vector<wire::TokenId> tokens;
  // Whether the answer begins inside thoughts: the prompt opened them, and what the answer goes on
  // with has not closed them.
  bool in_thoughts = false;
  // What the answer goes on with has closed them, whatever the model does by habit.
  bool thoughts_closed = false;
};

// The prompt of a conversation, rendered and encoded (text/chat_encoding.h). As SGLang does it:
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
                                   const ChatRequest& request,
                                   EncodedChat& out);

}  // namespace fathom::api
