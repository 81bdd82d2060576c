#include "app/answer_grammar.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace fathom::app {

Result<std::unique_ptr<grammar::Compiler>> make_grammar_compiler(
    const text::Tokenizer& tokenizer,
    std::int32_t vocab_size,
    std::span<const wire::TokenId> end_tokens,
    int threads,
    std::function<void(std::chrono::nanoseconds)> on_compiled) {
  grammar::CompilerOptions options;
  options.on_compiled = std::move(on_compiled);
  options.vocab_size = vocab_size;
  options.threads = threads;
  const std::int32_t tokens = std::min(tokenizer.vocab_size(), vocab_size);
  options.token_bytes.resize(static_cast<std::size_t>(tokens));
  for (wire::TokenId id = 0; id < tokens; ++id) {
    const std::string_view bytes = tokenizer.token_bytes(id);
    if (tokenizer.is_special(id) || bytes == "<think>" || bytes == "</think>") continue;
    options.token_bytes[static_cast<std::size_t>(id)] = bytes;
  }
  for (const wire::TokenId id : end_tokens) {
    if (id >= 0 && id < vocab_size) options.stop_tokens.push_back(id);
  }
  return grammar::Compiler::create(std::move(options));
}

}  // namespace fathom::app
