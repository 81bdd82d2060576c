#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "base/status.h"
#include "grammar/compiler.h"
#include "text/tokenizer.h"
#include "wire/messages.h"

namespace fathom::app {

// The compiler of what answers have to match, over the vocabulary of `tokenizer`: its special
// tokens and those that mark thoughts have no text there. `end_tokens` end an answer; those without
// a logit are left out. `threads` compile; `on_compiled` is CompilerOptions'.
Result<std::unique_ptr<grammar::Compiler>> make_grammar_compiler(
    const text::Tokenizer& tokenizer,
    std::int32_t vocab_size,
    std::span<const wire::TokenId> end_tokens,
    int threads,
    std::function<void(std::chrono::nanoseconds)> on_compiled);

}  // namespace fathom::app
