// The index against the simplest model that could be right: every prefix by its tokens in a map,
// each with its page and its uses.

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <tuple>

#include <gtest/gtest.h>

#include "cache/radix_index.h"

namespace fathom::cache {
namespace {

using Node = RadixIndex::Node;
using Tokens = std::vector<TokenId>;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kPlays = 1;
#else
constexpr int kPlays = 10;
#endif

constexpr int kOperations = 10'000;  // of one play
constexpr std::size_t kPageTokens = 4;
constexpr std::int32_t kPages = 40;
constexpr std::size_t kMaxTokens = 30;
constexpr std::size_t kUsers = 6;
constexpr int kNameSpaces = 3;

// The name space, then the tokens.
using Prefix = std::vector<TokenId>;

struct Known {
  PageId page = -1;
  int locks = 0;  // at it or below
  int uses = 0;
  int last_use = 0;
};

class Model {
 public:
  Model(bool pairs, Eviction eviction) : pairs_(pairs), eviction_(eviction) {}

  std::size_t pages_in(std::size_t tokens) const {
    return pairs_ ? (std::max<std::size_t>(tokens, 1) - 1) / kPageTokens : tokens / kPageTokens;
  }
  Prefix prefix(int name_space, const Tokens& tokens, std::size_t pages) const {
    Prefix key{name_space};
    const std::size_t count = pages == 0 ? 0 : pages * kPageTokens + (pairs_ ? 1 : 0);
    key.insert(key.end(), tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(count));
    return key;
  }
  std::vector<PageId> match(int name_space, const Tokens& tokens) const {
    std::vector<PageId> pages;
    while (pages.size() < pages_in(tokens.size())) {
      const auto one = known_.find(prefix(name_space, tokens, pages.size() + 1));
      if (one == known_.end()) break;
      pages.push_back(one->second.page);
    }
    return pages;
  }

  // A lock at the end of the first `pages` pages; a use of each.
  void lock(int name_space, const Tokens& tokens, std::size_t pages) {
    extend(name_space, tokens, 0, pages);
  }
  // The same lock, moved down.
  void extend(int name_space, const Tokens& tokens, std::size_t from, std::size_t pages) {
    for (std::size_t i = from; i < pages; ++i) {
      Known& one = known_.at(prefix(name_space, tokens, i + 1));
      ++one.locks;
      ++one.uses;
    }
  }
  void unlock(int name_space, const Tokens& tokens, std::size_t pages) {
    ++now_;
    for (std::size_t i = 0; i < pages; ++i) {
      Known& one = known_.at(prefix(name_space, tokens, i + 1));
      --one.locks;
      one.last_use = now_;
    }
  }
  // The page that is kept for the prefix: `page` when none was.
  PageId insert(const Prefix& prefix, PageId page) {
    return known_.try_emplace(prefix, Known{.page = page}).first->second.page;
  }

  void evict(int count) {
    for (; count > 0; --count) {
      auto first = known_.end();
      for (auto one = known_.begin(); one != known_.end(); ++one) {
        if (one->second.locks > 0 || has_children(one)) continue;
        if (first == known_.end() || order(one->second) < order(first->second)) first = one;
      }
      if (first == known_.end()) return;
      known_.erase(first);
    }
  }

  int evictable() const {
    return static_cast<int>(
        std::ranges::count_if(known_, [](const auto& one) { return one.second.locks == 0; }));
  }
  const std::map<Prefix, Known>& known() const { return known_; }

 private:
  using Iterator = std::map<Prefix, Known>::const_iterator;

  // In this order what begins with a prefix follows it at once.
  bool has_children(Iterator one) const {
    const auto next = std::next(one);
    return next != known_.end() && next->first.size() > one->first.size() &&
           std::equal(one->first.begin(), one->first.end(), next->first.begin());
  }
  std::tuple<int, int> order(const Known& of) const {
    return {eviction_ == Eviction::kLfu ? of.uses : 0, of.last_use};
  }

  bool pairs_;
  Eviction eviction_;
  int now_ = 0;
  std::map<Prefix, Known> known_;
};

// What a sequence of an engine is to the index.
struct User {
  int name_space = 0;
  Tokens tokens;
  Node node = RadixIndex::kNone;  // locked
  std::size_t indexed = 0;        // pages, the locked node's included
  std::vector<PageId> pages;      // held; at least those
};

class Play {
 public:
  Play(bool pairs, Eviction eviction, unsigned seed)
      : model_(pairs, eviction),
        index_(pool_,
               {.page_tokens = kPageTokens, .pairs = pairs, .eviction = eviction, .seed = seed}),
        random_(seed) {}

  void run() {
    for (int step = 0; step < kOperations && !testing::Test::HasFailure(); ++step) {
      SCOPED_TRACE("step " + std::to_string(step));
      act();
      verify();
      if (step % 32 == 0) verify_all();
    }
    while (!users_.empty()) finish(0);
    index_.clear();
    EXPECT_EQ(pool_.free_count(), kPages);
    // Else the play was about nothing.
    EXPECT_GT(hits_, kOperations / 100);
    EXPECT_GT(duplicates_, kOperations / 200);
    EXPECT_GT(evicted_, kOperations / 100);
    EXPECT_EQ(deepest_, model_.pages_in(kMaxTokens));
  }

 private:
  std::size_t draw(std::size_t bound) { return random_() % bound; }
  // Mostly the same, so that prefixes are shared.
  TokenId draw_token() { return draw(8) == 0 ? 1 : 0; }
  Tokens draw_tokens(std::size_t count) {
    Tokens tokens;
    while (tokens.size() < count) tokens.push_back(draw_token());
    return tokens;
  }
  static std::string name(int name_space) {
    return name_space == 0 ? "" : std::to_string(name_space);
  }

  void act() {
    const std::size_t choice = draw(100);
    if (choice < 15 && users_.size() < kUsers) {
      begin();
    } else if (choice < 55 && !users_.empty()) {
      grow(users_[draw(users_.size())]);
    } else if (choice < 70 && !users_.empty()) {
      finish(draw(users_.size()));
    } else if (choice < 80) {
      evict(static_cast<int>(draw(4)));
    } else if (choice == 80) {
      const int evictable = model_.evictable();
      EXPECT_EQ(index_.clear(), evictable);
      model_.evict(evictable);
    } else {
      match();
    }
  }

  void match() {
    const int name_space = static_cast<int>(draw(kNameSpaces + 1));
    const Tokens tokens = draw_tokens(draw(kMaxTokens));
    EXPECT_EQ(index_.match(name(name_space), tokens).pages, model_.match(name_space, tokens));
  }

  void begin() {
    User user{.name_space = static_cast<int>(draw(kNameSpaces)),
              .tokens = draw_tokens(draw(kMaxTokens)),
              .node = RadixIndex::kNone,
              .indexed = 0,
              .pages = {}};
    const RadixIndex::Match found = index_.match(name(user.name_space), user.tokens);
    ASSERT_EQ(found.pages, model_.match(user.name_space, user.tokens));
    if (found.node == RadixIndex::kNone) {
      user.node = index_.lock_root(name(user.name_space));
    } else {
      user.node = found.node;
      index_.lock(found.node);
    }
    pool_.hold(found.pages);
    user.pages = found.pages;
    user.indexed = found.pages.size();
    hits_ += static_cast<int>(found.pages.size());
    model_.lock(user.name_space, user.tokens, user.indexed);
    users_.push_back(user);
  }

  // Some more tokens, their pages as far as there are any, and all of that into the index.
  void grow(User& user) {
    const Tokens more = draw_tokens(draw(3) == 0 ? 1 + draw(12) : 1);
    if (user.tokens.size() + more.size() <= kMaxTokens) {
      user.tokens.insert(user.tokens.end(), more.begin(), more.end());
    }
    const std::size_t wanted = user.tokens.size() / kPageTokens;
    if (wanted > user.pages.size()) {
      const auto missing = static_cast<int>(wanted - user.pages.size());
      if (pool_.free_count() < missing) evict(missing - pool_.free_count());
      if (pool_.free_count() < missing) return;
      const auto taken = pool_.take(missing).value();
      user.pages.insert(user.pages.end(), taken.begin(), taken.end());
    }
    if (draw(8) == 0) {
      insert_anew(user);
    } else {
      insert(user);
    }
  }

  // From the root again, with a new lock.
  void insert_anew(User& user) {
    const Node node = user.node;
    const std::size_t indexed = user.indexed;
    user.node = index_.lock_root(name(user.name_space));
    user.indexed = 0;
    insert(user);
    index_.unlock(node);
    model_.unlock(user.name_space, user.tokens, indexed);
  }

  void insert(User& user) {
    const std::size_t from = user.indexed;
    const RadixIndex::Inserted done =
        index_.insert(user.node, std::span(user.tokens).subspan(from * kPageTokens),
                      std::span(user.pages).subspan(from));
    const std::size_t to = std::min(user.pages.size(), model_.pages_in(user.tokens.size()));
    ASSERT_EQ(static_cast<std::size_t>(done.pages), to - from);
    EXPECT_EQ(to == from, done.node == user.node);

    std::map<std::size_t, PageId> kept;  // by place among all pages
    for (std::size_t i = from; i < to; ++i) {
      const PageId page =
          model_.insert(model_.prefix(user.name_space, user.tokens, i + 1), user.pages[i]);
      if (page != user.pages[i]) kept.emplace(i, page);
    }
    model_.extend(user.name_space, user.tokens, from, to);
    user.node = done.node;
    user.indexed = to;

    std::map<std::size_t, PageId> duplicates;
    for (const auto& one : done.duplicates) {
      duplicates.emplace(from + static_cast<std::size_t>(one.place), one.kept);
    }
    ASSERT_EQ(duplicates, kept);
    duplicates_ += static_cast<int>(kept.size());
    deepest_ = std::max(deepest_, to);
    if (draw(2) == 0) return;  // goes on with its own
    for (const auto& [place, page] : kept) {
      pool_.hold({&page, 1});
      pool_.release({&user.pages[place], 1});
      user.pages[place] = page;
    }
  }

  void finish(std::size_t which) {
    const User user = users_[which];
    users_.erase(users_.begin() + static_cast<std::ptrdiff_t>(which));
    index_.unlock(user.node);
    model_.unlock(user.name_space, user.tokens, user.indexed);
    pool_.release(user.pages);
  }

  void evict(int count) {
    const int expected = std::min(count, model_.evictable());
    EXPECT_EQ(index_.evict(count), expected);
    evicted_ += expected;
    model_.evict(count);
  }

  // What is quick, after every step: the counts, every page's holders, one user's prefix.
  void verify() {
    std::vector<int> holders(kPages, 0);
    for (const auto& [prefix, known] : model_.known()) {
      ++holders[static_cast<std::size_t>(known.page)];
    }
    for (const User& user : users_) {
      for (const PageId page : user.pages) ++holders[static_cast<std::size_t>(page)];
    }
    for (PageId page = 0; page < kPages; ++page) {
      EXPECT_EQ(pool_.holders(page), holders[static_cast<std::size_t>(page)]) << page;
    }
    // Free, held by users, in the index alone: together all there are.
    EXPECT_EQ(pool_.free_count(), std::ranges::count(holders, 0));
    EXPECT_EQ(index_.pages(), static_cast<std::int32_t>(model_.known().size()));
    EXPECT_EQ(index_.evictable(), model_.evictable());
    if (users_.empty()) return;
    const User& user = users_[draw(users_.size())];
    EXPECT_EQ(index_.match(name(user.name_space), user.tokens).pages,
              model_.match(user.name_space, user.tokens));
  }

  // Every prefix of the model is found with its pages, by itself and followed by something else.
  void verify_all() {
    index_.check();
    for (const auto& [prefix, known] : model_.known()) {
      Tokens tokens(prefix.begin() + 1, prefix.end());
      const RadixIndex::Match found = index_.match(name(prefix.front()), tokens);
      ASSERT_EQ(found.pages, model_.match(prefix.front(), tokens));
      ASSERT_EQ(found.pages.back(), known.page);
      tokens.push_back(2);
      EXPECT_EQ(index_.match(name(prefix.front()), tokens).node, found.node);
      EXPECT_EQ(index_.match_pages(name(prefix.front()), tokens),
                static_cast<std::int32_t>(found.pages.size()));
    }
  }

  PagePool pool_{kPages};
  Model model_;
  RadixIndex index_;
  std::mt19937 random_;
  std::vector<User> users_;

  // What happened, in pages.
  int hits_ = 0;
  int duplicates_ = 0;
  int evicted_ = 0;
  std::size_t deepest_ = 0;
};

// Each with a hash of its own: which pages share a bucket differs.
void play(bool pairs, Eviction eviction) {
  for (unsigned seed = 0; seed < kPlays && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Play(pairs, eviction, seed).run();
  }
}

TEST(RadixIndexModel, AgreesWithEveryPrefixInAMapLru) { play(false, Eviction::kLru); }
TEST(RadixIndexModel, AgreesWithEveryPrefixInAMapLfu) { play(false, Eviction::kLfu); }
TEST(RadixIndexModel, AgreesWithPairsLru) { play(true, Eviction::kLru); }
TEST(RadixIndexModel, AgreesWithPairsLfu) { play(true, Eviction::kLfu); }

}  // namespace
}  // namespace fathom::cache
