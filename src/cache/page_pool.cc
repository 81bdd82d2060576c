#include "cache/page_pool.h"

#include <string>

namespace fathom::cache {

PagePool::PagePool(std::int32_t capacity) {
  FATHOM_CHECK(capacity > 0);
  holders_.resize(static_cast<std::size_t>(capacity));
  free_.reserve(holders_.size());
  for (PageId page = capacity; page-- > 0;) free_.push_back(page);
}

Result<std::vector<PageId>> PagePool::take(std::int32_t count) {
  FATHOM_CHECK(count >= 0);
  if (count > free_count()) {
    return Status(Code::kResourceExhausted, "wanted " + std::to_string(count) + " pages, " +
                                                std::to_string(free_count()) + " of " +
                                                std::to_string(capacity()) + " are free");
  }
  std::vector<PageId> taken(free_.end() - count, free_.end());
  free_.resize(free_.size() - taken.size());
  for (const PageId page : taken) holders_[static_cast<std::size_t>(page)] = 1;
  return taken;
}

void PagePool::hold(std::span<const PageId> pages) {
  for (const PageId page : pages) ++held(page);
}

void PagePool::release(std::span<const PageId> pages) {
  for (const PageId page : pages) {
    if (--held(page) == 0) free_.push_back(page);
  }
}

std::int32_t& PagePool::held(PageId page) {
  FATHOM_CHECK(page >= 0 && page < capacity());
  std::int32_t& holders = holders_[static_cast<std::size_t>(page)];
  FATHOM_CHECK(holders > 0);
  return holders;
}

}  // namespace fathom::cache
