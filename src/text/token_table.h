#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fathom::text {

// Index of a token in the vocabulary, as the model knows it.
using TokenId = std::int32_t;

// One past the largest id a tokenizer may use.
inline constexpr TokenId kMaxTokens = 1 << 21;

// The bytes of every token, by id, and the ids of those that were made findable, by bytes.
//
// Threads: built by one; immutable after that.
class TokenTable {
 public:
  // Gives `id` its bytes; an id has them once. False, with nothing changed, when it already has
  // some. Requires 0 <= id < kMaxTokens.
  bool add(TokenId id, std::string_view bytes);

  // Lets find() see the token. False, with nothing changed, when another token of the same bytes
  // is findable. Requires contains(id).
  bool make_findable(TokenId id);

  // One past the largest id that was added.
  TokenId size() const { return static_cast<TokenId>(spans_.size()); }
  bool contains(TokenId id) const {
    return id >= 0 && id < size() && spans_[static_cast<std::size_t>(id)].begin != kAbsent;
  }
  // The token's bytes, valid until the next add(); empty for an id without a token.
  std::string_view bytes(TokenId id) const {
    if (!contains(id)) return {};
    const Span span = spans_[static_cast<std::size_t>(id)];
    return {blob_.data() + span.begin, span.size};
  }
  // The findable token that has exactly these bytes, or -1.
  TokenId find(std::string_view bytes) const;
  // The size in bytes of the longest findable token.
  std::size_t longest() const { return longest_; }

 private:
  struct Span {
    std::uint32_t begin = kAbsent;
    std::uint32_t size = 0;
  };
  struct Slot {
    std::uint32_t tag = 0;  // the hash's upper half
    TokenId id = -1;        // -1 when free
  };
  static constexpr std::uint32_t kAbsent = 0xFFFFFFFF;

  void grow();

  std::string blob_;
  std::vector<Span> spans_;  // [id]
  std::vector<Slot> slots_;  // open addressing, a power of two, at most half full
  std::size_t used_ = 0;
  std::size_t longest_ = 0;
};

}  // namespace fathom::text
