#include "cache/page_pool.h"

#include <algorithm>
#include <map>
#include <random>

#include <gtest/gtest.h>

namespace fathom::cache {
namespace {

TEST(PagePool, RefusalLeavesThePoolAsItWas) {
  PagePool pool(/*capacity=*/4);
  ASSERT_TRUE(pool.take(3).ok());

  const Status refused = pool.take(2).status();

  EXPECT_EQ(refused.code(), Code::kResourceExhausted);
  EXPECT_EQ(refused.message(), "wanted 2 pages, 1 of 4 are free");
  EXPECT_EQ(pool.free_count(), 1);
}

TEST(PagePool, APageIsFreeOnceNobodyHoldsIt) {
  PagePool pool(2);
  const std::vector<PageId> pages = pool.take(1).value();

  pool.hold(pages);
  pool.release(pages);
  EXPECT_EQ(pool.holders(pages[0]), 1);
  pool.release(pages);

  EXPECT_EQ(pool.holders(pages[0]), 0);
  EXPECT_EQ(pool.free_count(), 2);
}

TEST(PagePool, ReleasingAFreePageIsABug) {
  PagePool pool(2);
  const std::vector<PageId> pages = pool.take(1).value();
  pool.release(pages);
  EXPECT_DEATH(pool.release(pages), "check failed");
}

TEST(PagePool, AgreesWithACountOfHolders) {
  std::mt19937 random(7);
  PagePool pool(50);
  std::map<PageId, int> holders;
  for (int step = 0; step < 20000; ++step) {
    const int choice = static_cast<int>(random() % 3);
    if (choice == 0) {
      const auto count = static_cast<std::int32_t>(random() % 8);
      const auto taken = pool.take(count);
      ASSERT_EQ(taken.ok(), count <= 50 - static_cast<int>(holders.size())) << step;
      if (!taken.ok()) continue;
      for (const PageId page : *taken) ASSERT_TRUE(holders.emplace(page, 1).second) << step;
    } else if (!holders.empty()) {
      auto it = std::next(holders.begin(), static_cast<long>(random() % holders.size()));
      const PageId page = it->first;
      if (choice == 1) {
        pool.hold({&page, 1});
        ++it->second;
      } else {
        pool.release({&page, 1});
        if (--it->second == 0) holders.erase(it);
      }
    }
    ASSERT_EQ(pool.held_count(), static_cast<int>(holders.size())) << step;
    ASSERT_EQ(pool.free_count() + pool.held_count(), pool.capacity()) << step;
  }
}

}  // namespace
}  // namespace fathom::cache
