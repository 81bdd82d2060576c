#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/pre_tokenizer.h"
#include "text/token_table.h"

namespace fathom::text {

// What a tokenizer.json says, checked: ids are in range and unique, merges refer to tokens, and
// every part is of the byte-level BPE family:
//   model           BPE (named or not) over all 256 bytes; merges as "a b" or ["a","b"];
//   ignore_merges.
//                   Not: byte_fallback, dropout, word affixes
//   normalizer      none, or an empty Sequence. All others would change the text's bytes
//   pre_tokenizer   ByteLevel, alone or at the end of a Sequence with Split (regex or string, five
//                   behaviours, invert), Digits, Punctuation, Whitespace, WhitespaceSplit
//   post_processor  none, ByteLevel, TemplateProcessing or a Sequence of these
//   decoder         ByteLevel
//   added_tokens    with all flags
// Truncation and padding are ignored, as a server does.
struct TokenizerSpec {
  TokenTable tokens;  // all of them; findable are those the merges can work with
  std::vector<Merge> merges;
  bool ignore_merges = false;
  std::vector<AddedToken> added_tokens;
  PreTokenizerSpec pre_tokenizer;
  std::vector<TokenId> prefix;  // what the post-processor puts around a text
  std::vector<TokenId> suffix;
};

// What a tokenizer_config.json says of the tokens around a text.
struct TokenizerConfig {
  std::optional<std::string> bos_token;
  std::optional<std::string> eos_token;
  std::optional<std::string> pad_token;
  std::optional<bool> add_bos_token;
  std::optional<bool> add_eos_token;
};

// What a generation_config.json or config.json says of them.
struct GenerationIds {
  std::optional<TokenId> bos;
  std::vector<TokenId> eos;
};

// Each reads one file's bytes, which nobody has looked at before: kInvalidArgument names the field
// and what it holds. Fields that are not understood are ignored unless they change the ids.
Result<TokenizerSpec> parse_tokenizer(std::string_view file);
Result<TokenizerConfig> parse_tokenizer_config(std::string_view file);
Result<GenerationIds> parse_generation_ids(std::string_view file);

}  // namespace fathom::text
