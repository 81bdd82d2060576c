#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/token_table.h"

namespace fathom::text {

// How many merges there may be at most.
inline constexpr std::size_t kMaxMerges = (std::size_t{1} << 22) - 1;

// Two neighbouring tokens that may become one. A merge's rank is its place in the list.
struct Merge {
  TokenId left = 0;
  TokenId right = 0;
  TokenId result = 0;
};

// Byte-pair encoding: a piece starts as its bytes, then the neighbouring pair of the lowest rank
// merges, the leftmost of equals, until no pair has a merge.
//
// Threads: immutable, any number at once, each with its own Scratch.
class Bpe {
 public:
  enum class WholePiece {
    kWhenReached,  // a piece that is a token becomes that token only if merging leads there
    kAlways        // it becomes that token without merging ("ignore_merges")
  };

  // Work space that calls may share one after the other.
  struct Scratch {
    struct Symbol {
      TokenId id = 0;
      std::int32_t previous = -1;
      std::int32_t next = -1;
      std::uint32_t rank = 0;  // of the merge with the next symbol
    };
    std::vector<Symbol> symbols;
    // Merges that may be made, as rank << 32 | symbol. Those known when a round begins are sorted;
    // of those that come about in it, a heap has what is due before the round's last, and the
    // next round the rest. Long runs of one character are rounds without a heap.
    std::vector<std::uint64_t> round;
    std::size_t taken = 0;  // of the round
    std::vector<std::uint64_t> heap;
    std::vector<std::uint64_t> next_round;
    // Merges that were ever taken from there, for tests of how much work a piece is.
    std::uint64_t entries = 0;
  };

  // Requires at most kMaxMerges. `tokens` must outlive the Bpe and not change; its findable tokens
  // are the vocabulary. A pair listed twice has its later rank. kInvalidArgument when a byte has no
  // token of its own.
  static Result<std::unique_ptr<Bpe>> create(const TokenTable& tokens,
                                             std::span<const Merge> merges,
                                             WholePiece whole_piece);

  // Appends the tokens of `piece` to `ids`; together they have exactly its bytes. Cost is
  // O(n log n) in piece.size(). Requires piece.size() < 2^31.
  void encode(std::string_view piece, Scratch& scratch, std::vector<TokenId>& ids) const;

 private:
  static constexpr std::uint32_t kNoMerge = 0xFFFFFFFF;
  // A slot is left (21 bits), right (21 bits), rank (22 bits): one load answers a lookup.
  static constexpr std::uint64_t kFreeSlot = ~std::uint64_t{0};

  explicit Bpe(const TokenTable& tokens) : tokens_(tokens) {}

  void add_merge(TokenId left, TokenId right, std::uint32_t rank);
  std::uint32_t rank_of(TokenId left, TokenId right) const;
  void fill_byte_ranks(std::span<const Merge> merges);
  void find_reached_tokens();
  void merge_short(std::string_view piece, std::vector<TokenId>& ids) const;
  void merge_long(std::string_view piece, Scratch& scratch, std::vector<TokenId>& ids) const;
  void start_long(std::string_view piece, Scratch& scratch) const;
  void rerank(std::int32_t symbol, Scratch& scratch) const;
  static void begin_round(Scratch& scratch);
  static bool take_lowest(Scratch& scratch, std::uint64_t& entry);

  const TokenTable& tokens_;
  std::array<TokenId, 256> byte_tokens_{};
  std::vector<std::uint64_t> slots_;   // open addressing, a power of two, at most half full
  std::vector<std::uint64_t> filter_;  // a bit for each pair's hash: most pairs have no merge, and
                                       // this is small enough to stay near the processor
  std::vector<std::uint32_t> byte_ranks_;  // [left byte, right byte], the pairs a piece starts with
  std::vector<TokenId> results_;           // [rank]
  std::vector<bool> is_direct_;  // [id] a piece with the token's bytes encodes to it alone
};

}  // namespace fathom::text
