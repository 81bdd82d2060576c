#include "cache/radix_index.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "base/random.h"

namespace fathom::cache {
namespace {

using Node = RadixIndex::Node;

std::size_t at(std::int32_t index) { return static_cast<std::size_t>(index); }

// Multilinear hashing (Lemire and Kaser, "Strongly universal string hashing is fast", 2014): the
// upper half of key[0] + sum of key[i + 1] * word[i] mod 2^64. Two different sequences of one
// length collide with a probability of 2^-32 over the keys, whoever chose the sequences.
class Hash {
 public:
  // For a node and `tokens` tokens.
  Hash(std::uint64_t seed, std::size_t tokens) : keys_(tokens + 2) {
    for (std::size_t i = 0; i < keys_.size(); ++i) {
      const auto random =
          philox4x32({static_cast<std::uint32_t>(i), 0, 0, 0},
                     {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
      keys_[i] = std::uint64_t{random[0]} << 32 | random[1];
    }
  }
  std::uint32_t operator()(Node parent, std::span<const TokenId> tokens) const {
    std::uint64_t sum = keys_[0] + keys_[1] * static_cast<std::uint32_t>(parent);
    const std::uint64_t* const keys = keys_.data() + 2;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      sum += keys[i] * static_cast<std::uint32_t>(tokens[i]);
    }
    return static_cast<std::uint32_t>(sum >> 32);
  }

 private:
  std::vector<std::uint64_t> keys_;
};

}  // namespace

struct RadixIndex::State {
  // `uses` and `last_use` of a node leave out what its descendants have. A node hands its own to
  // its parent when it goes, so they are complete as soon as they decide anything: in a leaf.
  struct Entry {
    Node parent = kNone;  // of a root and of a free entry, kNone
    PageId page = -1;     // of a root and of a free entry, -1
    Node next = kNone;    // in the same bucket
    std::uint32_t hash = 0;
    std::int32_t children = 0;
    std::int32_t locks = 0;  // at this very node
    std::int32_t held = 0;   // locks + children that are held; a node may go when it is 0
    std::int64_t uses = 0;
    std::int64_t last_use = 0;
    const std::string* name = nullptr;  // a root's, the key in `roots`
  };
  // Leaves in the order in which they go: uses (0 for LRU), last use, node.
  using Leaf = std::tuple<std::int64_t, std::int64_t, Node>;

  State(PagePool& page_pool, const Options& given)
      : pool(page_pool),
        options(given),
        page_tokens(at(given.page_tokens)),
        key_tokens(page_tokens + (given.pairs ? 1 : 0)),
        hash(given.seed, key_tokens),
        buckets(std::bit_ceil(at(page_pool.capacity())), kNone),
        indexed(at(page_pool.capacity()), false) {
    // Address space only: what is not used is not touched. A root has a page below it, or a lock.
    const std::size_t most = 2 * at(page_pool.capacity()) + 1;
    entries.reserve(most);
    tokens.reserve(most * key_tokens);
  }

  Entry& entry(Node node) { return entries[at(node)]; }
  const Entry& entry(Node node) const { return entries[at(node)]; }
  bool is_root(Node node) const { return entry(node).name != nullptr; }
  bool exists(Node node) const {
    return node >= 0 && at(node) < entries.size() && (is_root(node) || entry(node).page >= 0);
  }
  std::span<const TokenId> key(Node node) const {
    return std::span(tokens).subspan(at(node) * key_tokens, key_tokens);
  }
  Node& bucket(std::uint32_t of_hash) { return buckets[of_hash & (buckets.size() - 1)]; }

  // Whole keys in `count` tokens.
  std::size_t keys_in(std::size_t count) const {
    return options.pairs && count > 0 ? (count - 1) / page_tokens : count / page_tokens;
  }
  std::span<const TokenId> key_of(std::span<const TokenId> of, std::size_t place) const {
    return of.subspan(place * page_tokens, key_tokens);
  }

  Node find_root(std::string_view name_space) const {
    const auto root = roots.find(name_space);
    return root == roots.end() ? kNone : root->second;
  }
  Node find_child(Node parent, std::uint32_t key_hash, std::span<const TokenId> wanted) const {
    Node node = buckets[key_hash & (buckets.size() - 1)];
    while (node != kNone &&
           (entry(node).parent != parent || !std::ranges::equal(key(node), wanted))) {
      node = entry(node).next;
    }
    return node;
  }
  // Calls visit(node) for the root and each page that matches, in order.
  template <class Visit>
  void walk(std::string_view name_space, std::span<const TokenId> along, Visit visit) const {
    Node node = find_root(name_space);
    const std::size_t places = keys_in(along.size());
    for (std::size_t place = 0; node != kNone; ++place) {
      visit(node);
      if (place == places) return;
      const auto wanted = key_of(along, place);
      node = find_child(node, hash(node, wanted), wanted);
    }
  }

  Node take_entry() {
    if (!free.empty()) {
      const Node node = free.back();
      free.pop_back();
      return node;
    }
    entries.emplace_back();
    tokens.resize(tokens.size() + key_tokens);
    return static_cast<Node>(entries.size() - 1);
  }
  void free_entry(Node node) {
    entry(node) = Entry{};
    free.push_back(node);
  }

  Leaf leaf(Node node) const {
    const Entry& of = entry(node);
    return {options.eviction == Eviction::kLfu ? of.uses : 0, of.last_use, node};
  }

  // A node without locks and children, or the like of a root.
  void settle(Node node) {
    if (is_root(node)) {
      roots.erase(roots.find(*entry(node).name));
      free_entry(node);
    } else {
      leaves.insert(leaf(node));
    }
  }

  void hold(Node node) {
    while (node != kNone) {
      Entry& to = entry(node);
      if (to.held == 0 && !is_root(node)) {
        if (to.children == 0) leaves.erase(leaf(node));
        --evictable;
      }
      if (to.held++ > 0) return;
      node = to.parent;
    }
  }
  void release(Node node) {
    while (node != kNone) {
      Entry& from = entry(node);
      if (--from.held > 0) return;
      const Node parent = from.parent;
      if (!is_root(node)) ++evictable;
      if (from.children == 0) settle(node);
      node = parent;
    }
  }

  void lock(Node node) {
    hold(node);  // first: the order of leaves depends on the uses
    ++entry(node).locks;
    ++entry(node).uses;
  }
  void unlock(Node node) {
    Entry& of = entry(node);
    --of.locks;
    of.last_use = ++now;
    release(node);
  }
  // Moves one lock, and its use, to a child. All above stay as they are.
  void move_lock(Node parent, Node child) {
    lock(child);
    Entry& from = entry(parent);
    --from.locks;
    --from.uses;
    --from.held;
  }

  // Whoever calls it locks the child next: until then it is missing among the leaves.
  Node add_child(Node parent, std::uint32_t key_hash, std::span<const TokenId> with, PageId page) {
    FATHOM_CHECK_MSG(!indexed[at(page)], "page " + std::to_string(page) + " is in the index");
    const Node node = take_entry();
    std::ranges::copy(with, tokens.begin() + static_cast<std::ptrdiff_t>(at(node) * key_tokens));
    Entry& of = entry(node);
    of.parent = parent;
    of.page = page;
    of.hash = key_hash;
    of.next = std::exchange(bucket(key_hash), node);
    indexed[at(page)] = true;
    ++entry(parent).children;
    ++pages;
    ++evictable;
    return node;
  }

  // Takes the first of the leaves away.
  void evict_one() {
    const Node node = std::get<Node>(*leaves.begin());
    leaves.erase(leaves.begin());
    const Entry gone = entry(node);
    Node* link = &bucket(gone.hash);
    while (*link != node) link = &entry(*link).next;
    *link = gone.next;
    free_entry(node);
    --pages;
    --evictable;
    indexed[at(gone.page)] = false;
    pool.release({&gone.page, 1});

    Entry& parent = entry(gone.parent);
    --parent.children;
    parent.uses += gone.uses;
    parent.last_use = std::max(parent.last_use, gone.last_use);
    if (parent.children == 0 && parent.held == 0) settle(gone.parent);
  }

  void check_counts() const;
  void check_links() const;

  PagePool& pool;
  const Options options;
  const std::size_t page_tokens;
  const std::size_t key_tokens;
  const Hash hash;

  std::vector<Entry> entries;   // by node
  std::vector<TokenId> tokens;  // [entries, key_tokens]
  std::vector<Node> free;
  std::vector<Node> buckets;  // by the lower bits of the hash; a power of two
  // Names come from outside, so no hash with a known key.
  std::map<std::string, Node, std::less<>> roots;
  std::set<Leaf> leaves;  // not held, without children; no roots
  std::vector<bool> indexed;
  std::int64_t now = 0;  // counts the locks given back
  std::int32_t pages = 0;
  std::int32_t evictable = 0;
};

RadixIndex::RadixIndex(PagePool& pool, const Options& options) {
  FATHOM_CHECK(options.page_tokens > 0);
  state_ = std::make_unique<State>(pool, options);
}

RadixIndex::~RadixIndex() {
  clear();
  FATHOM_CHECK_MSG(state_->roots.empty(), "an index ends with locks");
}

RadixIndex::Match RadixIndex::match(std::string_view name_space,
                                    std::span<const TokenId> tokens) const {
  const State& state = *state_;
  Match found;
  state.walk(name_space, tokens, [&](Node node) {
    found.node = node;
    if (!state.is_root(node)) found.pages.push_back(state.entry(node).page);
  });
  return found;
}

std::int32_t RadixIndex::match_pages(std::string_view name_space,
                                     std::span<const TokenId> tokens) const {
  std::int32_t nodes = 0;
  state_->walk(name_space, tokens, [&](Node) { ++nodes; });
  return std::max(nodes - 1, 0);
}

RadixIndex::Node RadixIndex::lock_root(std::string_view name_space) {
  State& state = *state_;
  Node root = state.find_root(name_space);
  if (root == kNone) {
    root = state.take_entry();
    const auto added = state.roots.emplace(name_space, root).first;
    state.entry(root).name = &added->first;
  }
  state.lock(root);
  return root;
}

void RadixIndex::lock(Node node) {
  FATHOM_CHECK(state_->exists(node));
  state_->lock(node);
}

void RadixIndex::unlock(Node node) {
  FATHOM_CHECK(state_->exists(node));
  FATHOM_CHECK(state_->entry(node).locks > 0);
  state_->unlock(node);
}

RadixIndex::Inserted RadixIndex::insert(Node from,
                                        std::span<const TokenId> tokens,
                                        std::span<const PageId> pages) {
  State& state = *state_;
  FATHOM_CHECK(state.exists(from));
  FATHOM_CHECK(state.entry(from).locks > 0);
  if (state.options.pairs && !state.is_root(from) && !tokens.empty()) {
    FATHOM_CHECK_MSG(tokens.front() == state.key(from).back(), "the tokens follow another page");
  }
  const std::size_t count = std::min(state.keys_in(tokens.size()), pages.size());
  Inserted done{from, static_cast<std::int32_t>(count), {}};
  for (std::size_t place = 0; place < count; ++place) {
    const auto wanted = state.key_of(tokens, place);
    const std::uint32_t hash = state.hash(done.node, wanted);
    Node child = state.find_child(done.node, hash, wanted);
    if (child == kNone) {
      state.pool.hold(pages.subspan(place, 1));
      child = state.add_child(done.node, hash, wanted, pages[place]);
    } else if (state.entry(child).page != pages[place]) {
      done.duplicates.push_back({static_cast<std::int32_t>(place), state.entry(child).page});
    }
    state.move_lock(done.node, child);
    done.node = child;
  }
  return done;
}

std::int32_t RadixIndex::evict(std::int32_t count) {
  FATHOM_CHECK(count >= 0);
  const std::int32_t forgotten = std::min(count, state_->evictable);
  for (std::int32_t i = 0; i < forgotten; ++i) state_->evict_one();
  return forgotten;
}

std::int32_t RadixIndex::clear() { return evict(state_->evictable); }

std::int32_t RadixIndex::pages() const { return state_->pages; }
std::int32_t RadixIndex::evictable() const { return state_->evictable; }

void RadixIndex::check() const {
  state_->check_counts();
  state_->check_links();
}

// Children, holds and leaves, counted anew.
void RadixIndex::State::check_counts() const {
  std::vector<std::int32_t> children(entries.size(), 0);
  std::vector<std::int32_t> held(entries.size(), 0);
  for (const Entry& of : entries) {
    if (of.parent == kNone) continue;
    FATHOM_CHECK(exists(of.parent));
    ++children[at(of.parent)];
    if (of.held > 0) ++held[at(of.parent)];
  }
  std::int32_t pages_counted = 0;
  std::int32_t evictable_counted = 0;
  std::size_t leaves_counted = 0;
  std::size_t roots_counted = 0;
  for (Node node = 0; at(node) < entries.size(); ++node) {
    const Entry& of = entry(node);
    FATHOM_CHECK(of.children == children[at(node)]);
    FATHOM_CHECK(of.locks >= 0 && of.held == of.locks + held[at(node)]);
    FATHOM_CHECK(of.uses >= of.locks);
    FATHOM_CHECK(of.last_use <= now);
    if (is_root(node)) {
      ++roots_counted;
      FATHOM_CHECK(of.children > 0 || of.held > 0);
      FATHOM_CHECK(find_root(*of.name) == node);
    } else if (exists(node)) {
      ++pages_counted;
      if (of.held == 0) ++evictable_counted;
      if (of.held == 0 && of.children == 0) ++leaves_counted;
      FATHOM_CHECK(leaves.contains(leaf(node)) == (of.held == 0 && of.children == 0));
    }
  }
  FATHOM_CHECK(pages == pages_counted);
  FATHOM_CHECK(evictable == evictable_counted);
  FATHOM_CHECK(leaves.size() == leaves_counted);
  FATHOM_CHECK(roots.size() == roots_counted);
  FATHOM_CHECK(entries.size() == at(pages) + roots.size() + free.size());
}

// Each page once, held, and found by its tokens; every node below a root.
void RadixIndex::State::check_links() const {
  std::vector<bool> seen(indexed.size(), false);
  for (Node node = 0; at(node) < entries.size(); ++node) {
    const Entry& of = entry(node);
    if (!exists(node) || is_root(node)) continue;
    FATHOM_CHECK(!seen[at(of.page)] && pool.holders(of.page) > 0);
    seen[at(of.page)] = true;
    FATHOM_CHECK(of.hash == hash(of.parent, key(node)));
    FATHOM_CHECK(find_child(of.parent, of.hash, key(node)) == node);
    FATHOM_CHECK(!options.pairs || is_root(of.parent) ||
                 key(of.parent).back() == key(node).front());
    Node above = node;
    for (std::size_t steps = 0; !is_root(above); ++steps) {
      FATHOM_CHECK(steps <= entries.size());
      above = entry(above).parent;
    }
  }
  FATHOM_CHECK(seen == indexed);
}

}  // namespace fathom::cache
