#pragma once

#include <optional>
#include <vector>

#include "api/refusal.h"
#include "base/json.h"
#include "text/tokenizer.h"
#include "wire/messages.h"

namespace fathom::api {

// The prompt of a chat: the request's `messages` with its `tools`, as `continue_final_message` says
// how to go on, rendered and encoded.
std::optional<Refusal> encode_chat(const text::Tokenizer& tokenizer,
                                   const Json& body,
                                   bool thinking,
                                   std::vector<wire::TokenId>& out);

}  // namespace fathom::api
