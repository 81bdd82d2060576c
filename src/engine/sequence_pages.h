#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "cache/page_pool.h"
#include "cache/radix_index.h"
#include "engine/sequence.h"

namespace fathom::engine {

// The pages of an engine: who holds them, and which a later request finds again by its tokens.
//
// The first `indexed` pages of a running sequence are in the prefix cache, where one lock is the
// sequence's. The others are its own. Whatever no running sequence holds is free, or the prefix
// cache gives it back when it is needed.
//
// A page may be found as soon as the step that fills it is launched: steps run in order.
//
// A page may lack the draft layer's rows, as that layer does not always run; who finds one goes on
// without drafts (Sequence::undrafted_from).
//
// Threads: the engine's thread alone.
class SequencePages {
 public:
  // Without `index` nothing is found again.
  SequencePages(std::int32_t pages, const std::optional<cache::RadixIndex::Options>& index);

  // What a sequence that waits would have without computing it.
  struct Found {
    cache::RadixIndex::Node node = cache::RadixIndex::kNone;
    std::vector<cache::PageId> pages;
  };
  // Of its first `rows` rows, whole pages. Valid until the next call that changes anything.
  Found find(const Sequence& sequence, std::int32_t rows) const;
  // The number of those rows alone.
  std::int32_t found_rows(const Sequence& sequence, std::int32_t rows) const;

  // Gives a sequence that waited what was found for it: it has `pages` and `computed` rows.
  void admit(Sequence& sequence, const Found& found);
  // Takes `count` more pages for it, from the pool and from what the prefix cache can do without.
  // Requires that there are so many.
  void grow(Sequence& sequence, std::int32_t count);
  // Lets others find its rows, those of the first `tokens` tokens at most: all that are computed or
  // under way, whose tokens are known. Gives the index of the first of its pages that is another
  // one now: an equal one, which somebody else had computed meanwhile; pages.size(): none is.
  std::size_t offer(Sequence& sequence,
                    std::int32_t tokens = std::numeric_limits<std::int32_t>::max());
  // Takes all its pages from it. What was offered can still be found.
  void release(Sequence& sequence);

  // How many pages of each of `running` those before it hold as well. The first call after a change
  // costs the pages that the prefix cache and they have together, others nothing.
  void count_shared(std::span<const Sequence* const> running, std::vector<std::int32_t>& shared);
  // How many of the pages found any of the sequences of that call hold.
  std::int32_t held_of(const Found& found) const;

  // Whether a page that can be found lacks rows of the draft layer.
  bool lacks_draft_rows(cache::PageId page) const {
    return lacks_draft_rows_[static_cast<std::size_t>(page)];
  }

  // Forgets what can be found and nobody holds.
  void forget();

  std::int32_t capacity() const { return pool_.capacity(); }
  std::int32_t used() const;    // held by sequences
  std::int32_t cached() const;  // to be found
  // Held by nobody known: 0, when `own` is what running sequences hold beside the prefix cache.
  std::int32_t leaked(std::int64_t own) const;
  std::int32_t free() const { return pool_.free_count(); }
  std::int64_t evicted() const { return evicted_; }  // since the start, for want of room

 private:
  static std::span<const wire::TokenId> key_of(const Sequence& sequence, std::int32_t rows);
  // Page number `place` of the sequence is one of the prefix cache's.
  void note_draft_rows(Sequence& sequence, std::int32_t place) const;
  std::int32_t marked(std::span<const cache::PageId> pages) const;

  cache::PagePool pool_;
  std::unique_ptr<cache::RadixIndex> index_;  // null: there is none
  std::int64_t evicted_ = 0;
  std::vector<bool> lacks_draft_rows_;  // [capacity], of pages in the prefix cache
  // Pages of the prefix cache that sequences hold, as of the last count.
  std::vector<std::int64_t> marks_;  // [capacity]: epoch_ where one does
  std::int64_t epoch_ = 0;
  bool changed_ = true;  // since the last count
  std::vector<std::int32_t> shared_;
};

}  // namespace fathom::engine
