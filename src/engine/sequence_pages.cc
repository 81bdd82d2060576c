#include "engine/sequence_pages.h"

#include <algorithm>

#include "base/check.h"
#include "config/kv_layout.h"

namespace fathom::engine {

SequencePages::SequencePages(std::int32_t pages,
                             const std::optional<cache::RadixIndex::Options>& index)
    : pool_(pages),
      lacks_draft_rows_(static_cast<std::size_t>(pages)),
      marks_(static_cast<std::size_t>(pages)) {
  if (index) index_ = std::make_unique<cache::RadixIndex>(pool_, *index);
}

// The token after the last row is known, since rows < sequence.known(); an index of pairs asks for
// it.
std::span<const wire::TokenId> SequencePages::key_of(const Sequence& sequence, std::int32_t rows) {
  FATHOM_CHECK(rows < sequence.known());
  const std::int32_t whole = rows / config::kPageTokens * config::kPageTokens;
  return std::span(sequence.tokens).first(static_cast<std::size_t>(whole) + 1);
}

SequencePages::Found SequencePages::find(const Sequence& sequence, std::int32_t rows) const {
  if (index_ == nullptr) return {};
  cache::RadixIndex::Match match =
      index_->match(sequence.request.cache_namespace, key_of(sequence, rows));
  return {match.node, std::move(match.pages)};
}

std::int32_t SequencePages::found_rows(const Sequence& sequence, std::int32_t rows) const {
  if (index_ == nullptr) return 0;
  return config::kPageTokens *
         index_->match_pages(sequence.request.cache_namespace, key_of(sequence, rows));
}

void SequencePages::admit(Sequence& sequence, const Found& found) {
  FATHOM_CHECK(sequence.pages.empty() && sequence.computed == 0);
  changed_ = true;
  sequence.undrafted_from = Sequence::kNever;
  if (index_ == nullptr) return;
  if (found.node == cache::RadixIndex::kNone) {
    sequence.node = index_->lock_root(sequence.request.cache_namespace);
  } else {
    index_->lock(found.node);
    sequence.node = found.node;
  }
  pool_.hold(found.pages);
  sequence.pages = found.pages;
  sequence.indexed = static_cast<std::int32_t>(found.pages.size());
  sequence.computed = sequence.indexed * config::kPageTokens;
  for (std::int32_t i = 0; i < sequence.indexed; ++i) note_draft_rows(sequence, i);
}

void SequencePages::note_draft_rows(Sequence& sequence, std::int32_t place) const {
  if (!lacks_draft_rows(sequence.pages[static_cast<std::size_t>(place)])) return;
  sequence.undrafted_from = std::min(sequence.undrafted_from, place * config::kPageTokens);
}

void SequencePages::grow(Sequence& sequence, std::int32_t count) {
  if (count > pool_.free_count() && index_ != nullptr) {
    evicted_ += index_->evict(count - pool_.free_count());
  }
  Result<std::vector<cache::PageId>> pages = pool_.take(count);
  FATHOM_CHECK_MSG(pages.ok(), pages.status().message());
  sequence.pages.insert(sequence.pages.end(), pages->begin(), pages->end());
}

std::size_t SequencePages::offer(Sequence& sequence, std::int32_t tokens) {
  std::size_t first_changed = sequence.pages.size();
  if (index_ == nullptr || !sequence.running()) return first_changed;
  const std::int32_t known = sequence.known() - sequence.pending;
  const std::int32_t rows = std::min({sequence.computed, known, tokens});
  const std::int32_t whole = rows / config::kPageTokens;
  if (whole <= sequence.indexed) return first_changed;
  changed_ = true;
  const std::int32_t begin = sequence.indexed * config::kPageTokens;
  const std::int32_t end = std::min(whole * config::kPageTokens + 1, known);
  const auto done = static_cast<std::size_t>(sequence.indexed);
  const cache::RadixIndex::Inserted inserted = index_->insert(
      sequence.node,
      std::span(sequence.tokens)
          .subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)),
      std::span(sequence.pages).subspan(done, static_cast<std::size_t>(whole - sequence.indexed)));
  for (std::int32_t place = sequence.indexed; place < sequence.indexed + inserted.pages; ++place) {
    const cache::PageId page = sequence.pages[static_cast<std::size_t>(place)];
    lacks_draft_rows_[static_cast<std::size_t>(page)] =
        (place + 1) * config::kPageTokens > sequence.undrafted_from;
  }
  for (const auto& duplicate : inserted.duplicates) {
    const std::size_t place = done + static_cast<std::size_t>(duplicate.place);
    // A step under way may still read the page that is given up. Whoever gets it next writes in a
    // later step.
    pool_.hold({&duplicate.kept, 1});
    pool_.release({&sequence.pages[place], 1});
    sequence.pages[place] = duplicate.kept;
    note_draft_rows(sequence, static_cast<std::int32_t>(place));
    first_changed = std::min(first_changed, place);
  }
  sequence.node = inserted.node;
  sequence.indexed += inserted.pages;
  return first_changed;
}

void SequencePages::release(Sequence& sequence) {
  if (index_ != nullptr && sequence.node != cache::RadixIndex::kNone) {
    index_->unlock(sequence.node);
  }
  pool_.release(sequence.pages);
  sequence.pages.clear();
  sequence.node = cache::RadixIndex::kNone;
  sequence.indexed = 0;
  sequence.computed = 0;
  changed_ = true;
}

// What sequences hold of a way through the tree is its beginning.
std::int32_t SequencePages::marked(std::span<const cache::PageId> pages) const {
  const auto end = std::partition_point(pages.begin(), pages.end(), [this](cache::PageId page) {
    return marks_[static_cast<std::size_t>(page)] == epoch_;
  });
  return static_cast<std::int32_t>(end - pages.begin());
}

void SequencePages::count_shared(std::span<const Sequence* const> running,
                                 std::vector<std::int32_t>& shared) {
  if (changed_) {
    changed_ = false;
    ++epoch_;
    shared_.clear();
    for (const Sequence* sequence : running) {
      const auto indexed =
          std::span(sequence->pages).first(static_cast<std::size_t>(sequence->indexed));
      shared_.push_back(marked(indexed));
      for (const cache::PageId page : indexed.subspan(static_cast<std::size_t>(shared_.back()))) {
        marks_[static_cast<std::size_t>(page)] = epoch_;
      }
    }
  }
  FATHOM_CHECK(shared_.size() == running.size());
  shared = shared_;
}

std::int32_t SequencePages::held_of(const Found& found) const { return marked(found.pages); }

void SequencePages::forget() {
  if (index_ != nullptr) index_->clear();
}

std::int32_t SequencePages::used() const {
  return pool_.held_count() - (index_ != nullptr ? index_->evictable() : 0);
}

std::int32_t SequencePages::cached() const { return index_ != nullptr ? index_->pages() : 0; }

std::int32_t SequencePages::leaked(std::int64_t own) const {
  return pool_.held_count() - cached() - static_cast<std::int32_t>(own);
}

}  // namespace fathom::engine
