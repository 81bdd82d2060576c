#include "api/chat_prompt.h"

namespace fathom::api {

std::optional<Refusal> encode_chat(const text::Tokenizer& /*tokenizer*/,
                                   const Json& /*body*/,
                                   bool /*thinking*/,
                                   std::vector<wire::TokenId>& /*out*/) {
  return Refusal::of(501, "not built yet: the encoding of messages");
}

}  // namespace fathom::api
