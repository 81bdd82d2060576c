#include "cache/radix_index.h"

#include <numeric>
#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fathom::cache {
namespace {

using Node = RadixIndex::Node;
using Tokens = std::vector<TokenId>;
using Pages = std::vector<PageId>;
using testing::ElementsAre;
using testing::IsEmpty;

// first, first + 1, … : `count` tokens.
Tokens run(TokenId first, int count) {
  Tokens tokens(static_cast<std::size_t>(count));
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

Tokens operator+(Tokens left, const Tokens& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

// An index of pages of four tokens, over a pool of twenty.
struct Bed {
  explicit Bed(bool pairs = false, Eviction eviction = Eviction::kLru) {
    index.emplace(pool, RadixIndex::Options{
                            .page_tokens = 4, .pairs = pairs, .eviction = eviction, .seed = 5});
  }

  // As a request does: locks what is there, computes the rest in pages of its own, and inserts
  // them. They are held by the index alone afterwards. Gives the last node, locked.
  Node lock_prompt(const Tokens& tokens, std::string_view name_space = "") {
    const RadixIndex::Match found = index->match(name_space, tokens);
    const Node from = found.node == RadixIndex::kNone ? index->lock_root(name_space) : found.node;
    if (found.node != RadixIndex::kNone) index->lock(from);
    const std::span rest = std::span(tokens).subspan(found.pages.size() * 4);
    const Pages pages = pool.take(static_cast<std::int32_t>(rest.size() / 4)).value();
    const RadixIndex::Inserted done = index->insert(from, rest, pages);
    EXPECT_THAT(done.duplicates, IsEmpty());
    pool.release(pages);
    return done.node;
  }
  void add(const Tokens& tokens, std::string_view name_space = "") {
    index->unlock(lock_prompt(tokens, name_space));
  }
  int found(const Tokens& tokens, std::string_view name_space = "") const {
    return index->match_pages(name_space, tokens);
  }

  PagePool pool{20};
  std::optional<RadixIndex> index;
};

TEST(RadixIndex, EmptyFindsNothing) {
  Bed bed;

  const RadixIndex::Match match = bed.index->match("", run(0, 8));

  EXPECT_EQ(match.node, RadixIndex::kNone);
  EXPECT_THAT(match.pages, IsEmpty());
  EXPECT_EQ(bed.index->pages(), 0);
  EXPECT_EQ(bed.index->evict(3), 0);
  EXPECT_EQ(bed.index->clear(), 0);
  bed.index->check();
}

TEST(RadixIndex, FindsTheLongestPrefixOfWholePages) {
  Bed bed;
  const Node root = bed.index->lock_root("");
  const Pages pages = bed.pool.take(3).value();

  // Two pages and three tokens: the third page is not taken.
  const RadixIndex::Inserted done = bed.index->insert(root, run(0, 11), pages);

  EXPECT_EQ(done.pages, 2);
  EXPECT_EQ(bed.index->match("", run(0, 11)).node, done.node);
  EXPECT_THAT(bed.index->match("", run(0, 50)).pages, ElementsAre(pages[0], pages[1]));
  EXPECT_THAT(bed.index->match("", run(0, 8)).pages, ElementsAre(pages[0], pages[1]));
  EXPECT_THAT(bed.index->match("", run(0, 7)).pages, ElementsAre(pages[0]));
  EXPECT_THAT(bed.index->match("", run(0, 7) + Tokens{99}).pages, ElementsAre(pages[0]));
  EXPECT_EQ(bed.index->match("", run(0, 3)).node, root);
  EXPECT_EQ(bed.index->match("", run(1, 8)).node, root);
  EXPECT_EQ(bed.index->match("", {}).node, root);
  EXPECT_EQ(bed.pool.holders(pages[0]), 2);
  EXPECT_EQ(bed.pool.holders(pages[2]), 1);
  bed.index->check();
  bed.index->unlock(done.node);
}

TEST(RadixIndex, TakesNoMorePagesThanItIsGiven) {
  Bed bed;
  const Node root = bed.index->lock_root("");
  const Pages pages = bed.pool.take(1).value();

  const RadixIndex::Inserted done = bed.index->insert(root, run(0, 12), pages);

  EXPECT_EQ(done.pages, 1);
  EXPECT_EQ(bed.found(run(0, 12)), 1);
  bed.index->unlock(done.node);
}

TEST(RadixIndex, PairsFindAPageOnlyWithTheTokenAfterIt) {
  Bed bed(/*pairs=*/true);
  const Tokens page = run(0, 4);

  bed.add(page + Tokens{7, 8, 9, 10, 11});

  EXPECT_EQ(bed.found(page), 0);                            // what follows is not known
  EXPECT_EQ(bed.found(page + Tokens{7}), 1);                // enough for one
  EXPECT_EQ(bed.found(page + Tokens{6, 8, 9, 10, 11}), 0);  // differs exactly there
  EXPECT_EQ(bed.found(page + Tokens{7, 8, 9, 10, 12}), 1);
  EXPECT_EQ(bed.found(page + Tokens{7, 8, 9, 10, 11}), 2);
}

TEST(RadixIndex, PairsKeepTwoPagesOfEqualTokensApart) {
  Bed bed(/*pairs=*/true);
  const Tokens page = run(0, 4);

  bed.add(page + Tokens{7});
  bed.add(page + Tokens{6});

  const Pages seven = bed.index->match("", page + Tokens{7}).pages;
  const Pages six = bed.index->match("", page + Tokens{6}).pages;
  ASSERT_EQ(seven.size(), 1U);
  ASSERT_EQ(six.size(), 1U);
  EXPECT_NE(seven, six);
  bed.index->check();
}

TEST(RadixIndex, PairsTakeAPageOnceTheTokenAfterItIsThere) {
  Bed bed(/*pairs=*/true);
  const Node root = bed.index->lock_root("");
  const Pages pages = bed.pool.take(2).value();

  const RadixIndex::Inserted full = bed.index->insert(root, run(0, 4), pages);
  const RadixIndex::Inserted followed = bed.index->insert(full.node, run(0, 5), pages);
  const RadixIndex::Inserted next =
      bed.index->insert(followed.node, run(4, 5), std::span(pages).subspan(1));

  EXPECT_EQ(full.pages, 0);
  EXPECT_EQ(full.node, root);
  EXPECT_EQ(followed.pages, 1);
  EXPECT_EQ(next.pages, 1);
  EXPECT_THAT(bed.index->match("", run(0, 9)).pages, ElementsAre(pages[0], pages[1]));
  bed.index->unlock(next.node);
}

TEST(RadixIndex, NothingIsFoundInAnotherNameSpace) {
  Bed bed;
  bed.add(run(0, 8), "one");
  bed.add(run(0, 4), "two");

  EXPECT_EQ(bed.found(run(0, 8), "one"), 2);
  EXPECT_EQ(bed.found(run(0, 8), "two"), 1);
  EXPECT_EQ(bed.found(run(0, 8), ""), 0);
  EXPECT_EQ(bed.index->match("", run(0, 8)).node, RadixIndex::kNone);
  EXPECT_NE(bed.index->match("one", run(0, 4)).pages, bed.index->match("two", run(0, 4)).pages);
}

TEST(RadixIndex, ARootWithoutNodesAndLocksIsForgotten) {
  Bed bed;
  const Node root = bed.index->lock_root("one");
  EXPECT_EQ(bed.index->lock_root("one"), root);
  bed.index->unlock(root);
  EXPECT_EQ(bed.index->match("one", {}).node, root);

  bed.index->unlock(root);
  EXPECT_EQ(bed.index->match("one", {}).node, RadixIndex::kNone);

  bed.add(run(0, 4), "two");
  EXPECT_NE(bed.index->match("two", {}).node, RadixIndex::kNone);
  bed.index->evict(1);
  EXPECT_EQ(bed.index->match("two", {}).node, RadixIndex::kNone);
  bed.index->check();
}

TEST(RadixIndex, InsertKeepsThePagesItHas) {
  Bed bed;
  bed.add(run(0, 8));
  const Pages kept = bed.index->match("", run(0, 8)).pages;
  const Node root = bed.index->lock_root("");
  const Pages mine = bed.pool.take(3).value();

  const RadixIndex::Inserted done = bed.index->insert(root, run(0, 12), mine);

  EXPECT_EQ(done.pages, 3);
  ASSERT_EQ(done.duplicates.size(), 2U);
  EXPECT_EQ(done.duplicates[0].place, 0);
  EXPECT_EQ(done.duplicates[0].kept, kept[0]);
  EXPECT_EQ(done.duplicates[1].place, 1);
  EXPECT_EQ(done.duplicates[1].kept, kept[1]);
  EXPECT_THAT(bed.index->match("", run(0, 12)).pages, ElementsAre(kept[0], kept[1], mine[2]));
  EXPECT_EQ(bed.pool.holders(mine[0]), 1);
  EXPECT_EQ(bed.pool.holders(mine[2]), 2);
  bed.index->check();
  bed.index->unlock(done.node);
}

TEST(RadixIndex, InsertingTheSamePagesAgainIsNoDuplicate) {
  Bed bed;
  const Pages pages = bed.pool.take(1).value();
  const RadixIndex::Inserted first = bed.index->insert(bed.index->lock_root(""), run(0, 4), pages);

  const RadixIndex::Inserted again = bed.index->insert(bed.index->lock_root(""), run(0, 4), pages);

  EXPECT_EQ(again.node, first.node);
  EXPECT_THAT(again.duplicates, IsEmpty());
  EXPECT_EQ(bed.pool.holders(pages[0]), 2);
  bed.index->unlock(first.node);
  bed.index->unlock(again.node);
}

TEST(RadixIndex, TheLockMovesWithEveryInsertedPage) {
  Bed bed;
  const Node first = bed.lock_prompt(run(0, 4));
  const Pages pages = bed.pool.take(1).value();

  const Node second = bed.index->insert(first, run(4, 4), pages).node;

  EXPECT_EQ(bed.index->evictable(), 0);
  EXPECT_DEATH(bed.index->unlock(first), "check failed");
  EXPECT_DEATH(bed.index->insert(first, run(4, 4), pages), "check failed");
  bed.index->unlock(second);
  EXPECT_EQ(bed.index->evictable(), 2);
}

TEST(RadixIndex, ALockKeepsAllAboveItAndNothingBelow) {
  Bed bed;
  bed.add(run(0, 12));
  const Node middle = bed.index->match("", run(0, 8)).node;
  bed.index->lock(middle);
  bed.index->lock(middle);

  EXPECT_EQ(bed.index->evictable(), 1);
  EXPECT_EQ(bed.index->evict(3), 1);
  EXPECT_EQ(bed.found(run(0, 12)), 2);

  bed.index->unlock(middle);
  EXPECT_EQ(bed.index->evictable(), 0);
  bed.index->unlock(middle);
  EXPECT_EQ(bed.index->evict(3), 2);
  EXPECT_EQ(bed.pool.free_count(), bed.pool.capacity());
}

TEST(RadixIndex, EvictsWhatWasUsedLongestAgo) {
  Bed bed;
  const Tokens system = run(0, 4);
  bed.add(system + run(10, 4));
  bed.add(system + run(20, 4));
  bed.add(run(30, 4));
  bed.add(system + run(10, 4));  // a hit

  EXPECT_EQ(bed.index->evict(1), 1);
  EXPECT_EQ(bed.found(system + run(20, 4)), 1);
  EXPECT_EQ(bed.index->evict(1), 1);
  EXPECT_EQ(bed.found(run(30, 4)), 0);
  EXPECT_EQ(bed.index->evict(1), 1);  // the prefix was used last by what went just now
  EXPECT_EQ(bed.found(system + run(10, 4)), 1);
}

TEST(RadixIndex, APageIsUsedUntilItsLockIsGivenBack) {
  Bed bed;
  const Node slow = bed.lock_prompt(run(0, 4));
  bed.add(run(10, 4));
  bed.index->unlock(slow);

  bed.index->evict(1);

  EXPECT_EQ(bed.found(run(0, 4)), 1);
  EXPECT_EQ(bed.found(run(10, 4)), 0);
}

TEST(RadixIndex, AMatchIsNoUse) {
  Bed bed;
  bed.add(run(0, 4));
  bed.add(run(10, 4));
  EXPECT_EQ(bed.found(run(0, 4)), 1);

  bed.index->evict(1);

  EXPECT_EQ(bed.found(run(0, 4)), 0);
}

TEST(RadixIndex, EvictsWhatWasUsedLeastOften) {
  Bed bed(/*pairs=*/false, Eviction::kLfu);
  for (int i = 0; i < 3; ++i) bed.add(run(0, 4));
  for (int i = 0; i < 2; ++i) bed.add(run(10, 4));
  bed.add(run(20, 4));
  bed.add(run(30, 4));

  EXPECT_EQ(bed.index->evict(1), 1);  // of two that were used once, the older
  EXPECT_EQ(bed.found(run(20, 4)), 0);
  EXPECT_EQ(bed.found(run(30, 4)), 1);
  EXPECT_EQ(bed.index->evict(2), 2);
  EXPECT_EQ(bed.found(run(10, 4)), 0);
  EXPECT_EQ(bed.found(run(0, 4)), 1);
}

TEST(RadixIndex, ALockIsOneUseHoweverFarItMoves) {
  Bed bed(/*pairs=*/false, Eviction::kLfu);
  Node node = bed.lock_prompt(run(0, 4));
  for (TokenId first = 4; first < 20; first += 4) {
    const Pages page = bed.pool.take(1).value();
    node = bed.index->insert(node, run(first, 4), page).node;
  }
  bed.index->unlock(node);
  for (int i = 0; i < 2; ++i) bed.add(run(100, 4));

  EXPECT_EQ(bed.index->evict(5), 5);

  EXPECT_EQ(bed.found(run(0, 20)), 0);
  EXPECT_EQ(bed.found(run(100, 4)), 1);
}

TEST(RadixIndex, UsesOfWhatIsGoneCountForThePrefix) {
  Bed bed(/*pairs=*/false, Eviction::kLfu);
  bed.add(run(0, 8));
  bed.add(run(0, 8));
  bed.index->evict(1);
  bed.add(run(0, 4) + run(20, 4));
  bed.index->evict(1);
  EXPECT_EQ(bed.found(run(0, 4)), 1);
  for (int i = 0; i < 2; ++i) bed.add(run(10, 4));

  bed.index->evict(1);  // three uses against two

  EXPECT_EQ(bed.found(run(0, 4)), 1);
  EXPECT_EQ(bed.found(run(10, 4)), 0);
}

TEST(RadixIndex, APrefixIsAsFreshAsWhatContinuedIt) {
  Bed bed(/*pairs=*/false, Eviction::kLfu);
  bed.add(run(0, 4));
  for (int i = 0; i < 2; ++i) bed.add(run(10, 4));
  bed.add(run(0, 8));
  bed.index->evict(1);
  EXPECT_EQ(bed.found(run(0, 8)), 1);

  bed.index->evict(1);  // both were used twice

  EXPECT_EQ(bed.found(run(0, 4)), 1);
  EXPECT_EQ(bed.found(run(10, 4)), 0);
}

TEST(RadixIndex, ClearKeepsWhatIsLocked) {
  Bed bed;
  bed.add(run(0, 12));
  bed.add(run(10, 4), "other");
  const Node locked = bed.index->match("", run(0, 8)).node;
  bed.index->lock(locked);

  EXPECT_EQ(bed.index->clear(), 2);

  EXPECT_EQ(bed.found(run(0, 12)), 2);
  EXPECT_EQ(bed.index->match("other", {}).node, RadixIndex::kNone);
  EXPECT_EQ(bed.pool.held_count(), 2);
  bed.index->unlock(locked);
  EXPECT_EQ(bed.index->clear(), 2);
  EXPECT_EQ(bed.pool.held_count(), 0);
}

TEST(RadixIndex, GivesItsPagesBackAtItsEnd) {
  Bed bed;
  bed.add(run(0, 12));
  EXPECT_EQ(bed.pool.held_count(), 3);

  bed.index.reset();

  EXPECT_EQ(bed.pool.held_count(), 0);
}

TEST(RadixIndex, AWrongCallEndsTheProcess) {
  Bed bed(/*pairs=*/true);
  const Node node = bed.lock_prompt(run(0, 5));
  const Pages pages = bed.index->match("", run(0, 5)).pages;

  EXPECT_DEATH(bed.index->lock(RadixIndex::kNone), "check failed");
  EXPECT_DEATH(bed.index->lock(17), "check failed");
  // Tokens that do not continue the page's pair, and a page that is in the index elsewhere.
  EXPECT_DEATH(bed.index->insert(node, run(5, 5), pages), "the tokens follow another page");
  EXPECT_DEATH(bed.index->insert(node, run(4, 5), pages), "is in the index");
  EXPECT_DEATH(bed.index.reset(), "an index ends with locks");
  bed.index->unlock(node);
}

}  // namespace
}  // namespace fathom::cache
