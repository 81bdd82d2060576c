#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <string>

#include "base/check.h"

namespace fathom::text {
namespace {

// Up to this many bytes a scan over all pairs is faster than a queue.
constexpr std::size_t kShortPiece = 128;
constexpr std::size_t kLanes = 8;  // of a scan
static_assert(kShortPiece % kLanes == 0 && kShortPiece < 256);

constexpr unsigned kIdBits = 21;
constexpr unsigned kRankBits = 22;
static_assert(kMaxTokens <= 1 << kIdBits && kMaxMerges < std::size_t{1} << kRankBits);

std::uint64_t pair_of(TokenId left, TokenId right) {
  return static_cast<std::uint64_t>(left) << kIdBits | static_cast<std::uint64_t>(right);
}

std::uint64_t hash_of(std::uint64_t pair) {
  pair *= 0x9E3779B97F4A7C15U;
  pair ^= pair >> 29;
  return pair * 0xD6E8FEB86659FD93U;
}

// The slot where a search begins is taken from other bits of the hash than the filter's bit.
std::size_t slot_of(std::uint64_t hash) { return hash >> 40; }
std::size_t filter_word_of(std::uint64_t hash) { return hash >> 6 & 0xFFFFFFFF; }
std::uint64_t filter_bit_of(std::uint64_t hash) { return std::uint64_t{1} << (hash & 63); }

// A merge of the symbol at `index` in a short piece: the lowest key merges next.
constexpr std::uint32_t kNoKey = 0xFFFFFFFF;
std::uint32_t key_of(std::uint32_t rank, std::size_t index) {
  return rank << 8 | static_cast<std::uint32_t>(index);
}

// The same in a long piece.
std::uint64_t entry_of(std::uint32_t rank, std::int32_t symbol) {
  return static_cast<std::uint64_t>(rank) << 32 | static_cast<std::uint32_t>(symbol);
}

// Written for the compiler to keep the lanes in one register. `count` is a multiple of kLanes.
std::uint32_t lowest(const std::uint32_t* keys, std::size_t count) {
  std::array<std::uint32_t, kLanes> lanes;
  std::copy_n(keys, kLanes, lanes.begin());
  for (std::size_t at = kLanes; at < count; at += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      lanes[lane] = std::min(lanes[lane], keys[at + lane]);
    }
  }
  return *std::min_element(lanes.begin(), lanes.end());
}

}  // namespace

Result<std::unique_ptr<Bpe>> Bpe::create(const TokenTable& tokens,
                                         std::span<const Merge> merges,
                                         WholePiece whole_piece) {
  FATHOM_CHECK(merges.size() <= kMaxMerges);
  auto bpe = std::unique_ptr<Bpe>(new Bpe(tokens));
  for (std::size_t byte = 0; byte < 256; ++byte) {
    const char text = static_cast<char>(byte);
    bpe->byte_tokens_[byte] = tokens.find({&text, 1});
    if (bpe->byte_tokens_[byte] < 0) {
      return invalid_argument("no token for byte " + std::to_string(byte));
    }
  }
  bpe->slots_.resize(std::bit_ceil(merges.size() * 2 + 2), kFreeSlot);
  bpe->filter_.resize(std::bit_ceil(merges.size() / 8 + 1));
  bpe->results_.reserve(merges.size());
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    bpe->add_merge(merges[rank].left, merges[rank].right, static_cast<std::uint32_t>(rank));
    bpe->results_.push_back(merges[rank].result);
  }
  bpe->fill_byte_ranks(merges);
  bpe->is_direct_.resize(static_cast<std::size_t>(tokens.size()),
                         whole_piece == WholePiece::kAlways);
  if (whole_piece == WholePiece::kWhenReached) bpe->find_reached_tokens();
  return bpe;
}

void Bpe::add_merge(TokenId left, TokenId right, std::uint32_t rank) {
  const std::uint64_t pair = pair_of(left, right);
  const std::uint64_t hash = hash_of(pair);
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = slot_of(hash) & mask;
  while (slots_[at] != kFreeSlot && slots_[at] >> kRankBits != pair) at = (at + 1) & mask;
  slots_[at] = pair << kRankBits | rank;
  filter_[filter_word_of(hash) & (filter_.size() - 1)] |= filter_bit_of(hash);
}

std::uint32_t Bpe::rank_of(TokenId left, TokenId right) const {
  const std::uint64_t pair = pair_of(left, right);
  const std::uint64_t hash = hash_of(pair);
  if ((filter_[filter_word_of(hash) & (filter_.size() - 1)] & filter_bit_of(hash)) == 0) {
    return kNoMerge;
  }
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t at = slot_of(hash) & mask; slots_[at] != kFreeSlot; at = (at + 1) & mask) {
    if (slots_[at] >> kRankBits == pair) {
      return static_cast<std::uint32_t>(slots_[at] & ((1U << kRankBits) - 1));
    }
  }
  return kNoMerge;
}

void Bpe::fill_byte_ranks(std::span<const Merge> merges) {
  std::vector<std::int16_t> byte_of(static_cast<std::size_t>(tokens_.size()), -1);
  for (std::size_t byte = 0; byte < 256; ++byte) {
    byte_of[static_cast<std::size_t>(byte_tokens_[byte])] = static_cast<std::int16_t>(byte);
  }
  byte_ranks_.assign(std::size_t{256} * 256, kNoMerge);
  for (const Merge& merge : merges) {
    const std::int16_t left = byte_of[static_cast<std::size_t>(merge.left)];
    const std::int16_t right = byte_of[static_cast<std::size_t>(merge.right)];
    if (left < 0 || right < 0) continue;
    byte_ranks_[static_cast<std::size_t>(left) * 256 + static_cast<std::size_t>(right)] =
        rank_of(merge.left, merge.right);
  }
}

// Only the result of a merge can be reached, so nothing else is tried.
void Bpe::find_reached_tokens() {
  Scratch scratch;
  std::vector<TokenId> ids;
  for (const TokenId byte_token : byte_tokens_) {
    is_direct_[static_cast<std::size_t>(byte_token)] = true;
  }
  for (const TokenId id : results_) {
    if (is_direct_[static_cast<std::size_t>(id)]) continue;
    ids.clear();
    encode(tokens_.bytes(id), scratch, ids);
    is_direct_[static_cast<std::size_t>(id)] = ids.size() == 1 && ids[0] == id;
  }
}

void Bpe::encode(std::string_view piece, Scratch& scratch, std::vector<TokenId>& ids) const {
  if (piece.empty()) return;
  if (piece.size() <= tokens_.longest()) {
    const TokenId whole = tokens_.find(piece);
    if (whole >= 0 && is_direct_[static_cast<std::size_t>(whole)]) {
      ids.push_back(whole);
      return;
    }
  }
  if (piece.size() <= kShortPiece) {
    merge_short(piece, ids);
  } else {
    merge_long(piece, scratch, ids);
  }
}

// Symbols stay where they are: one that was merged into its neighbour is dead.
void Bpe::merge_short(std::string_view piece, std::vector<TokenId>& ids) const {
  std::array<TokenId, kShortPiece> symbols;
  std::array<std::uint32_t, kShortPiece> keys;  // [i] of the merge of symbol i and its next
  std::array<std::uint8_t, kShortPiece> previous;
  std::array<std::uint8_t, kShortPiece> next;
  const std::size_t count = piece.size();
  const std::size_t padded = (count + kLanes - 1) / kLanes * kLanes;
  const auto byte_at = [&](std::size_t i) { return static_cast<unsigned char>(piece[i]); };
  const auto put = [&](std::size_t i, std::uint32_t rank) {
    keys[i] = rank == kNoMerge ? kNoKey : key_of(rank, i);
  };
  for (std::size_t i = 0; i < count; ++i) {
    symbols[i] = byte_tokens_[byte_at(i)];
    previous[i] = static_cast<std::uint8_t>(i - 1);
    next[i] = static_cast<std::uint8_t>(i + 1);
    if (i + 1 < count) put(i, byte_ranks_[byte_at(i) * std::size_t{256} + byte_at(i + 1)]);
  }
  std::fill(keys.begin() + static_cast<std::ptrdiff_t>(count) - 1,
            keys.begin() + static_cast<std::ptrdiff_t>(padded), kNoKey);
  for (std::uint32_t key = lowest(keys.data(), padded); key != kNoKey;
       key = lowest(keys.data(), padded)) {
    const std::size_t at = key & 0xFF;
    const std::size_t merged = next[at];
    const std::size_t after = next[merged];
    symbols[at] = results_[key >> 8];
    next[at] = static_cast<std::uint8_t>(after);
    keys[at] = keys[merged] = kNoKey;
    if (after < count) {
      previous[after] = static_cast<std::uint8_t>(at);
      put(at, rank_of(symbols[at], symbols[after]));
    }
    if (at > 0) put(previous[at], rank_of(symbols[previous[at]], symbols[at]));
  }
  for (std::size_t i = 0; i < count; i = next[i]) ids.push_back(symbols[i]);
}

// An entry is worth something as long as its symbol still has that rank.
void Bpe::rerank(std::int32_t symbol, Scratch& scratch) const {
  Scratch::Symbol& at = scratch.symbols[static_cast<std::size_t>(symbol)];
  at.rank = kNoMerge;
  if (at.next < 0) return;
  at.rank = rank_of(at.id, scratch.symbols[static_cast<std::size_t>(at.next)].id);
  if (at.rank == kNoMerge) return;
  const std::uint64_t entry = entry_of(at.rank, symbol);
  if (entry > scratch.round.back()) {
    scratch.next_round.push_back(entry);
    return;
  }
  scratch.heap.push_back(entry);
  std::push_heap(scratch.heap.begin(), scratch.heap.end(), std::greater<>());
}

void Bpe::begin_round(Scratch& scratch) {
  scratch.round.swap(scratch.next_round);
  scratch.next_round.clear();
  scratch.taken = 0;
  if (!std::is_sorted(scratch.round.begin(), scratch.round.end())) {
    std::sort(scratch.round.begin(), scratch.round.end());
  }
}

void Bpe::start_long(std::string_view piece, Scratch& scratch) const {
  FATHOM_CHECK(piece.size() < (std::size_t{1} << 31));
  const auto count = static_cast<std::int32_t>(piece.size());
  const auto byte_at = [&](std::int32_t i) {
    return static_cast<unsigned char>(piece[static_cast<std::size_t>(i)]);
  };
  scratch.symbols.resize(piece.size());
  scratch.next_round.clear();
  for (std::int32_t i = 0; i < count; ++i) {
    Scratch::Symbol& symbol = scratch.symbols[static_cast<std::size_t>(i)];
    symbol = {byte_tokens_[byte_at(i)], i - 1, -1, kNoMerge};
    if (i + 1 == count) break;
    symbol.next = i + 1;
    symbol.rank = byte_ranks_[byte_at(i) * std::size_t{256} + byte_at(i + 1)];
    if (symbol.rank != kNoMerge) scratch.next_round.push_back(entry_of(symbol.rank, i));
  }
  begin_round(scratch);
}

// False when there is none left.
bool Bpe::take_lowest(Scratch& scratch, std::uint64_t& entry) {
  auto& heap = scratch.heap;
  if (heap.empty() && scratch.taken == scratch.round.size()) {
    if (scratch.next_round.empty()) return false;
    begin_round(scratch);
  }
  ++scratch.entries;
  if (heap.empty() ||
      (scratch.taken < scratch.round.size() && scratch.round[scratch.taken] < heap.front())) {
    entry = scratch.round[scratch.taken++];
    return true;
  }
  std::pop_heap(heap.begin(), heap.end(), std::greater<>());
  entry = heap.back();
  heap.pop_back();
  return true;
}

void Bpe::merge_long(std::string_view piece, Scratch& scratch, std::vector<TokenId>& ids) const {
  start_long(piece, scratch);
  auto& symbols = scratch.symbols;
  for (std::uint64_t entry = 0; take_lowest(scratch, entry);) {
    const auto rank = static_cast<std::uint32_t>(entry >> 32);
    const auto index = static_cast<std::int32_t>(entry & 0xFFFFFFFF);
    Scratch::Symbol& left = symbols[static_cast<std::size_t>(index)];
    if (left.rank != rank) continue;
    Scratch::Symbol& right = symbols[static_cast<std::size_t>(left.next)];
    right.rank = kNoMerge;  // it is gone, and so are its entries
    left.id = results_[rank];
    left.next = right.next;
    if (left.next >= 0) symbols[static_cast<std::size_t>(left.next)].previous = index;
    rerank(index, scratch);
    if (left.previous >= 0) rerank(left.previous, scratch);
  }
  for (std::int32_t i = 0; i >= 0; i = symbols[static_cast<std::size_t>(i)].next) {
    ids.push_back(symbols[static_cast<std::size_t>(i)].id);
  }
}

}  // namespace fathom::text
