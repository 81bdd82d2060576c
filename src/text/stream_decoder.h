#pragma once

#include <string>

#include "text/tokenizer.h"
#include "text/utf8.h"

namespace fathom::text {

// Decodes the tokens of one sequence as they come. Text is handed out as soon as it is certain:
// whole characters at once, bytes that can never become one as U+FFFD, the start of a character
// (at most 3 bytes) when the rest is there. All pieces together are what Tokenizer::decode() makes
// of all ids.
//
// Threads: one at a time.
class StreamDecoder {
 public:
  // Borrows `tokenizer`, which must outlive the decoder.
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens = false)
      : tokenizer_(&tokenizer), skip_special_tokens_(skip_special_tokens) {}

  // Appends the text that `id` completes to `out`, possibly none. The cost is that of the token's
  // own bytes, however long the sequence.
  void push(TokenId id, std::string& out) {
    if (skip_special_tokens_ && tokenizer_->is_special(id)) return;
    repair_.push(tokenizer_->token_bytes(id), out);
  }

  // Ends the sequence: an unfinished character becomes U+FFFD. Ready for another sequence after.
  void flush(std::string& out) { repair_.flush(out); }

  // Bytes that wait for the rest of their character, at most 3.
  std::size_t pending_bytes() const { return repair_.pending(); }

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_tokens_;
  Utf8Repair repair_;
};

}  // namespace fathom::text
