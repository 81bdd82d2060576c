#include "grammar/mask_filler.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "base/clock.h"
#include "grammar/grammar_testing.h"

namespace fathom::grammar {
namespace {

// Allows everything, bits past the vocabulary as well, but for token 0 where it `forbids`.
class FakeMatcher final : public Matcher {
 public:
  explicit FakeMatcher(bool forbids = false, std::function<void()> at_work = {})
      : forbids_(forbids), at_work_(std::move(at_work)) {}

  void fill_mask(std::span<std::uint32_t> mask) override {
    if (at_work_) at_work_();
    std::fill(mask.begin(), mask.end(), ~0U);
    if (forbids_) mask[0] &= ~1U;
  }
  bool accept(TokenId /*token*/) override { return true; }
  bool finished() const override { return false; }
  void rollback(std::int32_t /*tokens*/) override {}

 private:
  bool forbids_;
  std::function<void()> at_work_;
};

// Takes long enough for the other threads to be called, and to come.
void linger() {
  const std::int64_t begin = now_ns();
  while (now_ns() - begin < 500'000) {
  }
}

// Several masks, one after the other in memory.
struct Masks {
  Masks(std::int32_t vocab_size, std::size_t count)
      : width(mask_words(vocab_size)), words(count * width, 0xdeadbeefU) {}
  std::span<std::uint32_t> of(std::size_t row) { return {words.data() + row * width, width}; }

  std::size_t width;
  std::vector<std::uint32_t> words;
};

TEST(MaskFiller, TellsWhetherATokenIsForbiddenAndClearsWhatStandsForNone) {
  for (const std::int32_t vocab_size : {1, 31, 32, 70}) {
    MaskFiller filler(vocab_size, 2);
    FakeMatcher all;
    FakeMatcher some(/*forbids=*/true);
    Masks masks(vocab_size, 2);
    std::vector<MaskRows> rows{{&all, {}, masks.of(0), 0, 0}, {&some, {}, masks.of(1), 0, 0}};

    filler.fill(rows);

    EXPECT_EQ(rows[0].forbids, 0U);
    EXPECT_EQ(rows[1].forbids, 1U);
    for (std::size_t row = 0; row < 2; ++row) {
      for (std::int32_t id = 0; id < static_cast<std::int32_t>(masks.width) * 32; ++id) {
        const bool allowed =
            (masks.of(row)[static_cast<std::size_t>(id) / 32] >> (id % 32) & 1) != 0;
        EXPECT_EQ(allowed, id < vocab_size && (row == 0 || id > 0)) << row << " " << id;
      }
    }
  }
}

TEST(MaskFiller, FillsNothingWhereNothingIsMasked) {
  MaskFiller filler(100, 2);
  filler.fill({});
}

// Each mask waits for the others to be under way.
TEST(MaskFiller, DearMasksAreFilledAtOnce) {
  constexpr int kThreads = 3;
  MaskFiller filler(64, kThreads);
  std::mutex mutex;
  std::condition_variable came;
  int inside = 0;
  FakeMatcher dear(false, linger);
  const auto meet = [&] {
    std::unique_lock lock(mutex);
    ++inside;
    came.notify_all();
    came.wait_for(lock, std::chrono::minutes(1), [&] { return inside == kThreads; });
  };
  std::vector<FakeMatcher> matchers(kThreads, FakeMatcher(false, meet));
  Masks masks(64, kThreads);
  std::vector<MaskRows> first{{&dear, {}, masks.of(0), 0, 0}};
  std::vector<MaskRows> rows;
  for (std::size_t i = 0; i < kThreads; ++i) rows.push_back({&matchers[i], {}, masks.of(i), 0, 0});

  filler.fill(first);
  const std::int64_t begin = now_ns();
  filler.fill(rows);

  EXPECT_EQ(inside, kThreads);
  EXPECT_LT(now_ns() - begin, 60'000'000'000);
}

// Answers of several grammars go on twice: with their masks filled by one thread, and by several
// that share the grammars.
TEST(MaskFiller, MasksAreTheSameWhateverTheThreads) {
  const CompilerOptions options = byte_vocabulary({"ab", "\":", "\xe2\x82", "},"});
  const auto compiler = std::move(Compiler::create(options)).value();
  const std::vector<std::shared_ptr<const Grammar>> grammars{
      compiled(*compiler, {Kind::kJsonSchema, R"({"type":"object"})"}),
      compiled(*compiler, {Kind::kJsonSchema, R"({"type":"string","maxLength":9})"}),
      compiled(*compiler, {Kind::kRegex, "([a-z]{1,20} )+end"}),
  };
  constexpr std::size_t kRows = 24;
  struct Side {
    std::vector<std::unique_ptr<Matcher>> matchers;
    Masks masks;
    std::vector<MaskRows> rows;
  };
  const auto side = [&] {
    Side made{{}, Masks(options.vocab_size, kRows), {}};
    for (std::size_t i = 0; i < kRows; ++i) {
      made.matchers.push_back(grammars[i % grammars.size()]->new_matcher());
    }
    return made;
  };
  Side alone = side();
  Side together = side();
  MaskFiller one(options.vocab_size, 1);
  MaskFiller many(options.vocab_size, 4);
  FakeMatcher dear(false, linger);
  Masks scratch(options.vocab_size, 1);
  const auto fill = [](Side& of, MaskFiller& filler, std::vector<MaskRows> before) {
    of.rows = std::move(before);
    for (std::size_t i = 0; i < kRows; ++i) {
      of.rows.push_back({of.matchers[i].get(), {}, of.masks.of(i), 0, 0});
    }
    filler.fill(of.rows);
  };
  std::mt19937 random(3);
  for (int step = 0; step < 40; ++step) {
    fill(alone, one, {});
    fill(together, many, {{&dear, {}, scratch.of(0), 0, 0}});
    ASSERT_EQ(alone.masks.words, together.masks.words) << step;
    for (std::size_t i = 0; i < kRows; ++i) {
      ASSERT_EQ(alone.rows[i].forbids, together.rows[i + 1].forbids);
      if (alone.matchers[i]->finished()) continue;
      TokenId id = static_cast<TokenId>(random() % static_cast<unsigned>(options.vocab_size));
      while ((alone.masks.of(i)[static_cast<std::size_t>(id) / 32] >> (id % 32) & 1) == 0) {
        id = (id + 1) % options.vocab_size;
      }
      ASSERT_TRUE(alone.matchers[i]->accept(id));
      ASSERT_TRUE(together.matchers[i]->accept(id));
    }
  }
}

// Masks behind drafts are those of an answer that has these tokens.
TEST(MaskFiller, MasksBehindDraftsEndWhereTheDraftsAreWrong) {
  const CompilerOptions options = byte_vocabulary();
  const auto compiler = std::move(Compiler::create(options)).value();
  const auto grammar = compiled(*compiler, {Kind::kRegex, "ab(c|d)e?"});
  MaskFiller filler(options.vocab_size, 1);
  const TokenId end = options.stop_tokens[0];
  struct Row {
    std::vector<TokenId> drafts;
    std::size_t filled;
  };
  for (const Row& row : {Row{{}, 1}, Row{{'a', 'b', 'd'}, 4}, Row{{'a', 'x', 'd'}, 2},
                         Row{{'b'}, 1}, Row{{'a', 'b', 'c', end, 'e'}, 4}}) {
    const auto matcher = grammar->new_matcher();
    Masks masks(options.vocab_size, row.drafts.size() + 1);
    std::vector<MaskRows> answers{{matcher.get(), row.drafts, masks.words, 0, 0}};
    filler.fill(answers);
    ASSERT_EQ(answers[0].filled, row.filled);
    EXPECT_EQ(answers[0].forbids, (1U << row.filled) - 1);
    const auto plain = grammar->new_matcher();
    for (std::size_t i = 0; i < row.filled; ++i) {
      Masks expected(options.vocab_size, 1);
      std::vector<MaskRows> one{{plain.get(), {}, expected.words, 0, 0}};
      filler.fill(one);
      EXPECT_TRUE(std::ranges::equal(masks.of(i), expected.words)) << i;
      if (i < row.drafts.size()) plain->accept(row.drafts[i]);
    }
    EXPECT_TRUE(matcher->accept('a'));  // it is where it was
  }
}

}  // namespace
}  // namespace fathom::grammar
