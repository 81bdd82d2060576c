#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/token_table.h"

namespace fathom::text {

// The contents of a checkpoint's files that concern the tokenizer; empty when there is no such
// file. Only the first is required.
struct TokenizerFiles {
  std::string_view tokenizer = {};          // tokenizer.json
  std::string_view tokenizer_config = {};   // tokenizer_config.json
  std::string_view generation_config = {};  // generation_config.json
  std::string_view config = {};             // config.json; only its end-of-sequence ids are read
};

struct EncodeOptions {
  // Text that spells an added token becomes that token. Off, it is text like any other: for
  // content that must not be able to forge markers.
  bool match_added_tokens = true;
  // Put the beginning (and end) of sequence tokens around the text where the files ask for it.
  // A text that already encodes to the beginning gets no second one. Off is right for a prompt that
  // a chat encoder wrote and for any part of a text.
  bool add_special_tokens = false;
};

// Text to token ids and back: byte-level BPE as tokenizer.json describes it.
//
// Encoding keeps bytes: also a text that is not valid UTF-8 comes back as it was from the
// token_bytes() of its ids, unless the file has a step that removes text, adds a space in front, or
// lets an added token take the white space beside it.
//
// Threads: immutable; all members may be called from any number of threads at once.
class Tokenizer {
 public:
  // `path` is a folder with the files of TokenizerFiles, or a tokenizer.json, which is then read
  // alone. kUnavailable when a file cannot be read; kInvalidArgument names the file and the field
  // that is malformed or of another family than byte-level BPE.
  static Result<std::unique_ptr<Tokenizer>> load(const std::filesystem::path& path);
  // The same from bytes, which are not needed after the call.
  static Result<std::unique_ptr<Tokenizer>> from_json(const TokenizerFiles& files);

  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // Close to linear in text.size(), whatever the text. Requires text.size() < 2^31.
  std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options = {}) const;

  // The text of `ids`, always valid UTF-8: bytes that form no character become U+FFFD, one per
  // maximal subpart. An id without a token is skipped, as is a special one on request.
  std::string decode(std::span<const TokenId> ids, bool skip_special_tokens = false) const;

  // The bytes an id stands for, which need not be whole characters; empty for an id without a
  // token. Valid as long as the Tokenizer.
  std::string_view token_bytes(TokenId id) const;
  // Whether decode() can be asked to leave the token out. False for an id without a token.
  bool is_special(TokenId id) const;
  // Whether the token is one that the file lists as added, special or not.
  bool is_added(TokenId id) const;

  // The token with exactly these bytes; an added token before an ordinary one.
  std::optional<TokenId> find_token(std::string_view bytes) const;

  // One past the largest id that has a token. The model's vocabulary may be larger.
  TokenId vocab_size() const;

  std::optional<TokenId> bos_id() const;
  std::optional<TokenId> pad_id() const;
  // Every id that ends a sequence by what the files say, ascending. May hold ids past vocab_size().
  std::span<const TokenId> eos_ids() const;

 private:
  struct State;
  explicit Tokenizer(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace fathom::text
