#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/status.h"
#include "grammar/compiler.h"
#include "text/tokenizer.h"

namespace fathom::app {

// The compiler of what answers have to match. Added tokens are markers, not text: no grammar allows
// them. `end_tokens` end an answer.
Result<std::unique_ptr<grammar::Compiler>> grammar_compiler(
    const text::Tokenizer& tokenizer,
    std::int32_t vocab_size,
    const std::vector<grammar::TokenId>& end_tokens);

}  // namespace fathom::app
