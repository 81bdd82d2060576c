#pragma once

#include <string>
#include <vector>

#include "text/token_table.h"

namespace fathom::text {

// What one tokenizer is asked. Texts are valid UTF-8.
struct PeerQuestion {
  std::string tokenizer = {};  // the path of a tokenizer.json, or its text, which begins with '{'
  std::vector<std::string> texts = {};
  std::vector<std::vector<TokenId>> ids = {};
  bool special = false;  // the post-processor adds its tokens to `texts`
};

// The Hugging Face tokenizer's answer.
struct PeerAnswer {
  std::string refused = {};  // why it does not load the tokenizer; then the rest is empty
  std::vector<std::vector<TokenId>> encoded = {};  // [text]
  std::vector<std::string> decoded = {};           // of each encoded, then of each of `ids`
  std::vector<std::string> skipped = {};           // the same without special tokens
};

// Asks clients/tokenizer_peer.py in one process. Stops the test program when that fails.
std::vector<PeerAnswer> ask_peer(const std::vector<PeerQuestion>& questions);

}  // namespace fathom::text
