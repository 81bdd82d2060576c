#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "text/tokenizer.h"
#include "wire/messages.h"

namespace fathom::api {

using PositionLogprobs = std::vector<wire::PositionLogprobs>;

// Chat: [{"token","bytes","logprob","top_logprobs":[{"token","bytes","logprob"}]}]. `bytes` are the
// token's own; `token` is their text, with U+FFFD where they are no whole characters.
void append_chat_logprobs(std::string& out,
                          const text::Tokenizer& tokenizer,
                          std::span<const wire::PositionLogprobs> positions);

// Completions: {"text_offset","token_logprobs","tokens","top_logprobs"}. `characters` is the length
// in code points of the text of the tokens before; it is advanced. Of two alternatives with the
// same text the better one is told.
void append_completion_logprobs(std::string& out,
                                const text::Tokenizer& tokenizer,
                                std::span<const wire::PositionLogprobs> positions,
                                bool with_top,
                                std::size_t& characters);

// /generate: the elements, without brackets, of its lists of [log-probability, id, text] triples,
// appended after what is there. `tokenizer` null: text is null.
void append_native_logprobs(std::string& out,
                            const text::Tokenizer* tokenizer,
                            std::span<const wire::PositionLogprobs> positions);
void append_native_top_logprobs(std::string& out,
                                const text::Tokenizer* tokenizer,
                                std::span<const wire::PositionLogprobs> positions);
void append_native_asked_logprobs(std::string& out,
                                  const text::Tokenizer* tokenizer,
                                  std::span<const wire::PositionLogprobs> positions);

}  // namespace fathom::api
