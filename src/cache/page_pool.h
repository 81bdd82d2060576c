#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"

namespace fathom::cache {

// Number of one page of cache, in [0, PagePool::capacity()).
using PageId = std::int32_t;

// Hands out fixed-size pages of key/value cache and counts who holds each.
//
// The pool knows numbers only. The bytes belong to KvStore, laid out per layer as
// [pages, page bytes] and indexed by the same PageId; config::KvLayout says what a page holds.
//
// Threads: owned by the scheduler's thread; no member is safe from another.
// Invariant: free_count() + held_count() == capacity().
class PagePool {
 public:
  // `capacity` counts pages. Requires capacity > 0.
  explicit PagePool(std::int32_t capacity);
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  // Takes `count` free pages, each with one holder, in no particular order. All or nothing: on
  // kResourceExhausted the pool is unchanged. Requires count >= 0.
  Result<std::vector<PageId>> take(std::int32_t count);

  // Adds one holder to each page. Requires every page to be held.
  void hold(std::span<const PageId> pages);

  // Drops one holder of each page; a page with none left is free again. Requires every page to be
  // held.
  void release(std::span<const PageId> pages);

  std::int32_t capacity() const { return static_cast<std::int32_t>(holders_.size()); }
  std::int32_t free_count() const { return static_cast<std::int32_t>(free_.size()); }
  std::int32_t held_count() const { return capacity() - free_count(); }
  // How many hold `page`; 0 when it is free. Requires 0 <= page < capacity().
  std::int32_t holders(PageId page) const { return holders_[static_cast<std::size_t>(page)]; }

 private:
  std::int32_t& held(PageId page);

  std::vector<std::int32_t> holders_;  // [capacity], 0 when free
  std::vector<PageId> free_;           // a stack; the lowest numbers are taken first at the start
};

}  // namespace fathom::cache
