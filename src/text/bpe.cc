#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <string>

#include "base/check.h"

namespace fathom::text {
namespace {

// Up to this many bytes a scan over all pairs is faster than a queue.
constexpr std::size_t kShortPiece = 32;

std::uint64_t pair_of(TokenId left, TokenId right) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
         static_cast<std::uint32_t>(right);
}

std::uint64_t hash_of(std::uint64_t pair) {
  pair *= 0x9E3779B97F4A7C15U;
  pair ^= pair >> 29;
  return (pair * 0xD6E8FEB86659FD93U) >> 20;
}

}  // namespace

Result<std::unique_ptr<Bpe>> Bpe::create(const TokenTable& tokens,
                                         std::span<const Merge> merges,
                                         WholePiece whole_piece) {
  FATHOM_CHECK(merges.size() < kNoMerge);
  auto bpe = std::unique_ptr<Bpe>(new Bpe(tokens));
  for (std::size_t byte = 0; byte < 256; ++byte) {
    const char text = static_cast<char>(byte);
    bpe->byte_tokens_[byte] = tokens.find({&text, 1});
    if (bpe->byte_tokens_[byte] < 0) {
      return invalid_argument("no token for byte " + std::to_string(byte));
    }
  }
  bpe->slots_.resize(std::bit_ceil(merges.size() * 2 + 2));
  bpe->results_.reserve(merges.size());
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    bpe->add_merge(merges[rank].left, merges[rank].right, static_cast<std::uint32_t>(rank));
    bpe->results_.push_back(merges[rank].result);
  }
  bpe->is_direct_.resize(static_cast<std::size_t>(tokens.size()),
                         whole_piece == WholePiece::kAlways);
  if (whole_piece == WholePiece::kWhenReached) bpe->find_reached_tokens();
  return bpe;
}

void Bpe::add_merge(TokenId left, TokenId right, std::uint32_t rank) {
  const std::uint64_t pair = pair_of(left, right);
  std::size_t at = hash_of(pair) & (slots_.size() - 1);
  while (slots_[at].pair != kFree && slots_[at].pair != pair) at = (at + 1) & (slots_.size() - 1);
  slots_[at] = {pair, rank};
}

std::uint32_t Bpe::rank_of(TokenId left, TokenId right) const {
  const std::uint64_t pair = pair_of(left, right);
  std::size_t at = hash_of(pair) & (slots_.size() - 1);
  while (slots_[at].pair != pair) {
    if (slots_[at].pair == kFree) return kNoMerge;
    at = (at + 1) & (slots_.size() - 1);
  }
  return slots_[at].rank;
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

void Bpe::merge_short(std::string_view piece, std::vector<TokenId>& ids) const {
  std::array<TokenId, kShortPiece> symbols{};
  std::array<std::uint32_t, kShortPiece> ranks{};  // [i] of the merge of symbols i and i + 1
  std::size_t count = piece.size();
  for (std::size_t i = 0; i < count; ++i) {
    symbols[i] = byte_tokens_[static_cast<unsigned char>(piece[i])];
  }
  const auto rerank = [&](std::size_t i) {
    ranks[i] = i + 1 < count ? rank_of(symbols[i], symbols[i + 1]) : kNoMerge;
  };
  for (std::size_t i = 0; i < count; ++i) rerank(i);
  while (count > 1) {
    const auto* lowest = std::min_element(ranks.data(), ranks.data() + count);
    if (*lowest == kNoMerge) break;
    const auto at = static_cast<std::size_t>(lowest - ranks.data());
    symbols[at] = results_[*lowest];
    std::copy(symbols.data() + at + 2, symbols.data() + count, symbols.data() + at + 1);
    std::copy(ranks.data() + at + 2, ranks.data() + count, ranks.data() + at + 1);
    --count;
    rerank(at);
    if (at > 0) rerank(at - 1);
  }
  ids.insert(ids.end(), symbols.data(), symbols.data() + count);
}

// A queue entry is worth something as long as its symbol still has that rank.
void Bpe::rerank(std::int32_t symbol, Scratch& scratch) const {
  Scratch::Symbol& at = scratch.symbols[static_cast<std::size_t>(symbol)];
  at.rank = kNoMerge;
  if (at.next < 0) return;
  at.rank = rank_of(at.id, scratch.symbols[static_cast<std::size_t>(at.next)].id);
  if (at.rank == kNoMerge) return;
  scratch.queue.push_back(static_cast<std::uint64_t>(at.rank) << 32 |
                          static_cast<std::uint32_t>(symbol));
}

void Bpe::start_long(std::string_view piece, Scratch& scratch) const {
  FATHOM_CHECK(piece.size() < (std::size_t{1} << 31));
  const auto count = static_cast<std::int32_t>(piece.size());
  scratch.symbols.resize(piece.size());
  scratch.queue.clear();
  for (std::int32_t i = 0; i < count; ++i) {
    const auto byte = static_cast<unsigned char>(piece[static_cast<std::size_t>(i)]);
    scratch.symbols[static_cast<std::size_t>(i)] = {byte_tokens_[byte], i - 1,
                                                    i + 1 < count ? i + 1 : -1, kNoMerge};
  }
  for (std::int32_t i = 0; i < count; ++i) rerank(i, scratch);
  std::make_heap(scratch.queue.begin(), scratch.queue.end(), std::greater<>());
}

void Bpe::merge_long(std::string_view piece, Scratch& scratch, std::vector<TokenId>& ids) const {
  start_long(piece, scratch);
  auto& symbols = scratch.symbols;
  auto& queue = scratch.queue;
  const auto requeue = [&](std::int32_t symbol) {
    const std::size_t before = queue.size();
    rerank(symbol, scratch);
    if (queue.size() > before) std::push_heap(queue.begin(), queue.end(), std::greater<>());
  };
  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end(), std::greater<>());
    const auto rank = static_cast<std::uint32_t>(queue.back() >> 32);
    const auto index = static_cast<std::int32_t>(queue.back() & 0xFFFFFFFF);
    queue.pop_back();
    Scratch::Symbol& left = symbols[static_cast<std::size_t>(index)];
    if (left.rank != rank) continue;
    Scratch::Symbol& right = symbols[static_cast<std::size_t>(left.next)];
    right.rank = kNoMerge;  // it is gone, and so are its queue entries
    left.id = results_[rank];
    left.next = right.next;
    if (left.next >= 0) symbols[static_cast<std::size_t>(left.next)].previous = index;
    requeue(index);
    if (left.previous >= 0) requeue(left.previous);
  }
  for (std::int32_t i = 0; i >= 0; i = symbols[static_cast<std::size_t>(i)].next) {
    ids.push_back(symbols[static_cast<std::size_t>(i)].id);
  }
}

}  // namespace fathom::text
