#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace fathom::text::jinja {

enum class TokenKind : std::uint8_t {
  kData,  // text between tags, trimmed
  kVariableBegin,
  kVariableEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,  // unescaped
  kInteger,
  kFloat,
  kOperator,
  kEnd,  // of the source; the last one
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  int line = 1;
  std::string text;  // numbers without "_"
};

// The tokens of a template as Jinja cuts them with trim_blocks and lstrip_blocks on: the line end
// behind a block tag and blanks before one that stands first in its line are dropped, "-" and "+"
// at a tag's edge override that, every line end is "\n", and the very last one is dropped.
//
// Requires valid UTF-8. kInvalidArgument: "line 3: …".
Result<std::vector<Token>> tokenize(std::string_view source);

}  // namespace fathom::text::jinja
