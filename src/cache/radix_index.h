#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "cache/page_pool.h"

namespace fathom::cache {

using TokenId = std::int32_t;

// Which page goes first when room is needed. Only leaves go, so a prefix outlives what continues
// it.
enum class Eviction : std::uint8_t {
  kLru,  // the one that was used longest ago
  kLfu,  // the one that was used least often; among equals the one used longest ago
};

// Finds pages of keys and values that were computed before, by the tokens that led to them.
//
// A tree of pages: each node below a root is one full page, and the way from the root spells its
// tokens. Every name space has a root of its own, and nothing is found across two. Tokens that do
// not fill a page are never in the index.
//
// With `pairs` a page is found only when the token after its last one matches too: a row of the
// draft layer is a function of its token and of the next (design 6a.9). The page's key is then
// page_tokens + 1 tokens, and the last one is the first of the page that follows.
//
// A page in the index has one holder there (PagePool); whoever uses it besides holds it as well. A
// lock keeps a node and all those above it from eviction, and whoever uses its page has one. What
// is locked is still found.
//
// A use of a page is a lock at its node or below it, whether lock() took it there or insert() moved
// it. One lock is one use of each page that it ever covered, and the use lasts until unlock(): a
// page is used last when the last lock that covered it is given back. Uses of evicted pages still
// count for those above them, so no page has fewer or older uses than what continues it.
//
// Costs, whatever the size of the index:
//   match, insert   a hash and a comparison of tokens per page; for match, a search for the name
//   lock, unlock    a step for each page above the node that no other lock keeps
//   evict           the logarithm of the number of leaves per page
// So a sequence that inserts each page as it is filled, from its locked node, pays for that page
// alone. Hashes are keyed by `seed`, so that nobody can choose prompts that collide.
//
// Memory: some 320 bytes for a page of 64 tokens, and as much again with its name for a name space;
// address space for a name space to every page of the pool from the start.
//
// Threads: the engine's thread alone.
class RadixIndex {
 public:
  // A node, or the root of a name space. Valid while it is locked, or until the next call that
  // changes the index.
  using Node = std::int32_t;
  static constexpr Node kNone = -1;

  struct Options {
    std::int32_t page_tokens = 64;  // > 0
    bool pairs = false;
    Eviction eviction = Eviction::kLru;
    std::uint64_t seed = 0;  // nobody outside may know it
  };

  // `pool` must outlive the index.
  RadixIndex(PagePool& pool, const Options& options);
  // Gives its pages back. Requires that nothing is locked.
  ~RadixIndex();
  RadixIndex(const RadixIndex&) = delete;
  RadixIndex& operator=(const RadixIndex&) = delete;

  // Pages whose rows are those of the first pages.size() * page_tokens tokens.
  struct Match {
    Node node = kNone;          // of the last page; the name space's root when no page matches;
                                // kNone when the name space is unknown (lock_root() makes it)
    std::vector<PageId> pages;  // in order; not held for the caller
  };
  // The longest prefix of `tokens`. Changes nothing and counts as no use. Who cannot use all that
  // is cached, as the last token of a prompt must run, gives fewer tokens: those of the pages that
  // it can use and, with pairs, the one behind them.
  Match match(std::string_view name_space, std::span<const TokenId> tokens) const;
  // Its number of pages alone.
  std::int32_t match_pages(std::string_view name_space, std::span<const TokenId> tokens) const;

  // Locks the root of a name space, which is made where it is missing. A root without nodes and
  // locks is forgotten.
  Node lock_root(std::string_view name_space);
  // Adds a lock. Requires a node or a root.
  void lock(Node node);
  // Takes back one lock. Requires that `node` has one.
  void unlock(Node node);

  // What insert() did. The first `pages` of those given, or equal ones, are in the index now. The
  // last of them is `node`, to which the caller's lock moved; with no page that is `from`.
  struct Inserted {
    Node node = kNone;
    std::int32_t pages = 0;
    // The index already had other pages for these: places among those given, and the pages that the
    // index keeps in their stead. Their rows are equal; the caller may go on with either.
    struct Duplicate {
      std::int32_t place = 0;
      PageId kept = -1;
    };
    std::vector<Duplicate> duplicates;
  };
  // Adds what follows a locked node: `tokens` begin after `from`'s own page, and page i has the
  // rows of tokens [i * page_tokens, (i + 1) * page_tokens). As many pages are taken as are full of
  // tokens and, with pairs, followed by one more. The index holds the pages that it takes.
  //
  // Requires that `from` has a lock of the caller's, that the pages are held, and that none is in
  // the index elsewhere. With pairs, tokens[0] is the token that `from` was inserted with as the
  // one after its page.
  Inserted insert(Node from, std::span<const TokenId> tokens, std::span<const PageId> pages);

  // Forgets min(count, evictable()) pages, leaves first, and gives their number. A page that nobody
  // else holds is free then. Requires count >= 0.
  std::int32_t evict(std::int32_t count);
  // Forgets all that is not locked; gives the number of pages.
  std::int32_t clear();

  std::int32_t pages() const;      // in the index
  std::int32_t evictable() const;  // of them, with no lock at or below them

  // Fails with FATHOM_CHECK when the tree, the locks or the counts disagree; for tests. Takes time
  // in proportion to the size of the index.
  void check() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fathom::cache
