#include "app/grammar_compiler.h"

#include <algorithm>
#include <string>
#include <utility>

namespace fathom::app {

Result<std::unique_ptr<grammar::Compiler>> grammar_compiler(
    const text::Tokenizer& tokenizer,
    std::int32_t vocab_size,
    const std::vector<grammar::TokenId>& end_tokens) {
  grammar::CompilerOptions options;
  options.vocab_size = vocab_size;
  options.stop_tokens = end_tokens;
  const text::TokenId with_text = std::min(tokenizer.vocab_size(), vocab_size);
  options.token_bytes.resize(static_cast<std::size_t>(with_text));
  for (text::TokenId id = 0; id < with_text; ++id) {
    if (tokenizer.is_added(id)) continue;
    options.token_bytes[static_cast<std::size_t>(id)] = std::string(tokenizer.token_bytes(id));
  }
  return grammar::Compiler::create(std::move(options));
}

}  // namespace fathom::app
