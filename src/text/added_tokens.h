#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/token_table.h"

namespace fathom::text {

// A token that is looked for in the text itself, before any cutting and merging.
struct AddedToken {
  TokenId id = 0;
  std::string content = {};
  bool single_word = false;  // not where a word character touches it
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space after it
  bool normalized = false;   // looked for after the others, in what they left
  bool special = false;      // left out of decoded text on request
};

// A stretch of a text: an added token, or ordinary text.
struct TextSegment {
  std::string_view text;
  TokenId id = -1;  // -1 for ordinary text
};

// Finds added tokens: the leftmost first, of those that start there the longest.
//
// Threads: immutable.
class AddedTokens {
 public:
  // Tokens without content are never found. Of two with the same content the later counts.
  explicit AddedTokens(const std::vector<AddedToken>& tokens);

  // Appends `text` cut into segments, in order, none empty. Segments point into `text`. Linear in
  // text.size() for a given set of tokens.
  void split(std::string_view text, std::vector<TextSegment>& segments) const;

  // The id of the token with exactly this content, or -1.
  TokenId find(std::string_view content) const;

 private:
  struct Entry {
    TokenId id = 0;
    bool single_word = false;
    bool lstrip = false;
    bool rstrip = false;
  };

  // The contents of one pass, by their bytes.
  class Trie {
   public:
    Trie() { roots_.fill(-1); }
    void add(std::string_view content, std::int32_t entry);
    bool empty() const { return nodes_.empty(); }
    bool starts(char byte) const { return roots_[static_cast<unsigned char>(byte)] >= 0; }
    // The longest content at the front of `text`: its entry, or -1, and its size.
    std::int32_t longest(std::string_view text, std::size_t& size) const;

   private:
    struct Node {
      char byte = 0;
      std::int32_t entry = -1;
      std::int32_t child = -1;
      std::int32_t sibling = -1;
    };
    std::int32_t child_of(std::int32_t node, char byte) const;

    std::array<std::int32_t, 256> roots_{};  // [first byte] -> node, -1 without one
    std::vector<Node> nodes_;
  };

  void split_by(const Trie& trie, std::string_view text, std::vector<TextSegment>& segments) const;

  std::vector<Entry> entries_;
  Trie raw_;  // tokens that are not normalized
  Trie normalized_;
};

}  // namespace fathom::text
