// The prefix index with a million tokens in it: a prompt looked up, locked and inserted, a running
// sequence's page added, pages evicted. Figures and method: docs/benchmarks.md.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "base/function_ref.h"
#include "bench/machine.h"
#include "bench/table.h"
#include "cache/radix_index.h"

namespace {

using fathom::FunctionRef;
using fathom::bench::duration;
using fathom::bench::now_s;
using fathom::bench::Table;
using fathom::cache::Eviction;
using fathom::cache::PageId;
using fathom::cache::PagePool;
using fathom::cache::RadixIndex;
using fathom::cache::TokenId;
using Tokens = std::vector<TokenId>;

constexpr std::size_t kPageTokens = 64;
constexpr std::size_t kCachedTokens = std::size_t{1} << 20;
constexpr int kRounds = 15;

// Prompts of one length, random but for their first page, in an index that they fill.
class Bed {
 public:
  Bed(std::size_t prompt_tokens, Eviction eviction)
      : prompt_pages_(prompt_tokens / kPageTokens),
        pool_(static_cast<std::int32_t>(kCachedTokens / kPageTokens + 2 * prompt_pages_)),
        index_(pool_,
               {.page_tokens = kPageTokens, .pairs = true, .eviction = eviction, .seed = 1}) {
    while (index_.pages() < static_cast<std::int32_t>(kCachedTokens / kPageTokens)) {
      prompts_.push_back(draw());
      const auto pages = take();
      index_.unlock(index_.insert(index_.lock_root(""), prompts_.back(), pages).node);
      pool_.release(pages);
    }
    std::shuffle(prompts_.begin(), prompts_.end(), random_);
  }

  // The first page is the same in all, as a system prompt is; one token more, for the last pair.
  Tokens draw() {
    Tokens tokens(prompt_pages_ * kPageTokens + 1);
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      tokens[i] = i <= kPageTokens ? 0 : static_cast<TokenId>(random_() % 129280);
    }
    return tokens;
  }
  std::vector<PageId> take() {
    return pool_.take(static_cast<std::int32_t>(prompt_pages_)).value();
  }

  // Seconds a call, each call with another prompt of the index; the median of the rounds.
  double each(FunctionRef<void(const Tokens&)> call) {
    return median([&] {
      const double begin = now_s();
      for (const Tokens& prompt : prompts_) call(prompt);
      return (now_s() - begin) / static_cast<double>(prompts_.size());
    });
  }
  static double median(FunctionRef<double()> round) {
    std::vector<double> seconds;
    while (seconds.size() < kRounds) seconds.push_back(round());
    std::sort(seconds.begin(), seconds.end());
    return seconds[kRounds / 2];
  }

  double match_known() {
    return each([&](const Tokens& prompt) { found_ += index_.match("", prompt).pages.size(); });
  }
  double match_unknown() {
    Tokens prompt = draw();
    prompt[0] = 1;
    return each([&](const Tokens&) { found_ += index_.match("", prompt).pages.size(); });
  }
  double lock_and_unlock() {
    std::vector<RadixIndex::Node> nodes;
    for (const Tokens& prompt : prompts_) nodes.push_back(index_.match("", prompt).node);
    return median([&] {
      const double begin = now_s();
      for (const RadixIndex::Node node : nodes) {
        index_.lock(node);
        index_.unlock(node);
      }
      return (now_s() - begin) / static_cast<double>(nodes.size());
    });
  }
  // A new prompt at once, its lock included.
  double insert_prompt() {
    return median([&] {
      const Tokens prompt = draw();
      const auto pages = take();
      const double begin = now_s();
      const auto node = index_.insert(index_.lock_root(""), prompt, pages).node;
      index_.unlock(node);
      const double seconds = now_s() - begin;
      pool_.release(pages);
      index_.evict(static_cast<std::int32_t>(prompt_pages_));
      return seconds;
    });
  }
  // The same page by page from the locked node; seconds a page.
  double insert_page() {
    return median([&] {
      const Tokens prompt = draw();
      const auto pages = take();
      const double begin = now_s();
      RadixIndex::Node node = index_.lock_root("");
      for (std::size_t i = 0; i < prompt_pages_; ++i) {
        const auto key = std::span(prompt).subspan(i * kPageTokens, kPageTokens + 1);
        node = index_.insert(node, key, std::span(pages).subspan(i, 1)).node;
      }
      const double seconds = now_s() - begin;
      index_.unlock(node);
      pool_.release(pages);
      index_.evict(static_cast<std::int32_t>(prompt_pages_));
      return seconds / static_cast<double>(prompt_pages_);
    });
  }
  // Seconds a page, of an eighth of the index; once, for it is empty at the end.
  double evict_page() {
    std::vector<double> seconds;
    const std::int32_t part = index_.pages() / 8;
    for (int i = 0; i < 8; ++i) {
      const double begin = now_s();
      index_.evict(part);
      seconds.push_back((now_s() - begin) / part);
    }
    std::sort(seconds.begin(), seconds.end());
    return seconds[seconds.size() / 2];
  }

  std::size_t found() const { return found_; }

 private:
  std::mt19937 random_{1};
  std::size_t prompt_pages_;
  PagePool pool_;
  RadixIndex index_;
  std::vector<Tokens> prompts_;
  std::size_t found_ = 0;
};

std::string ns(double seconds) { return fathom::bench::number(seconds * 1e9, 0) + " ns"; }

}  // namespace

int main() {
  std::printf("%s\n\n", fathom::bench::describe_machine().c_str());
  const Table table({{"prompt, eviction", 16},
                     {"match"},
                     {"match, unknown"},
                     {"lock, unlock"},
                     {"insert"},
                     {"insert, a page"},
                     {"evict, a page"}});
  std::size_t found = 0;
  for (const std::size_t tokens : {std::size_t{128}, std::size_t{4096}, std::size_t{65536}}) {
    for (const Eviction eviction : {Eviction::kLru, Eviction::kLfu}) {
      Bed bed(tokens, eviction);
      const std::string known = duration(bed.match_known());
      const std::string unknown = ns(bed.match_unknown());
      const std::string lock = duration(bed.lock_and_unlock());
      const std::string insert = duration(bed.insert_prompt());
      const std::string page = ns(bed.insert_page());
      table.row({std::to_string(tokens) + ", " + (eviction == Eviction::kLru ? "LRU" : "LFU"),
                 known, unknown, lock, insert, page, ns(bed.evict_page())});
      found += bed.found();
    }
  }
  // So that no match is left out.
  return found > 0 ? 0 : 1;
}
