#include "grammar/mask_filler.h"

#include <algorithm>
#include <atomic>

#include "base/check.h"
#include "base/clock.h"

namespace fathom::grammar {

namespace {

// Whether a token is not allowed.
bool fill_mask(std::int32_t vocab_size, Matcher& matcher, std::span<std::uint32_t> mask) {
  matcher.fill_mask(mask);
  const auto part = static_cast<std::uint32_t>(vocab_size) % 32;
  const std::uint32_t last = part == 0 ? ~0U : (1U << part) - 1;
  mask.back() &= last;
  return mask.back() != last ||
         std::any_of(mask.begin(), mask.end() - 1, [](std::uint32_t word) { return word != ~0U; });
}

void fill_masks(std::int32_t vocab_size, MaskRows& answer) {
  const std::size_t words = mask_words(vocab_size);
  FATHOM_CHECK(answer.masks.size() == (answer.drafts.size() + 1) * words);
  FATHOM_CHECK(answer.drafts.size() < 32);
  answer.filled = 0;
  answer.forbids = 0;
  std::int32_t accepted = 0;
  while (true) {
    const std::size_t at = answer.filled++;
    if (fill_mask(vocab_size, *answer.matcher, answer.masks.subspan(at * words, words))) {
      answer.forbids |= 1U << at;
    }
    if (at == answer.drafts.size() || !answer.matcher->accept(answer.drafts[at])) break;
    ++accepted;
    if (answer.matcher->finished()) break;
  }
  answer.matcher->rollback(accepted);
}

}  // namespace

MaskFiller::MaskFiller(std::int32_t vocab_size, int threads)
    : vocab_size_(vocab_size), pool_(threads) {}

void MaskFiller::fill(std::span<MaskRows> answers) {
  std::atomic<std::int64_t> spent_ns{0};
  const auto fill_timed = [&](MaskRows& answer) {
    const std::int64_t begin = now_ns();
    fill_masks(vocab_size_, answer);
    spent_ns.fetch_add(now_ns() - begin, std::memory_order_relaxed);
  };
  // Answers go on much as they did. Where the last masks were cheap these are tried alone, and the
  // others are called when that turns out to be wrong.
  std::size_t alone = 0;
  while (!dear_ && alone < answers.size() && spent_ns.load() < kWorthWakingNs) {
    fill_timed(answers[alone++]);
  }
  const std::span<MaskRows> rest = answers.subspan(alone);
  pool_.parallel_for(rest.size(), 1, [&](std::size_t begin, std::size_t end, int) {
    for (std::size_t i = begin; i < end; ++i) fill_timed(rest[i]);
  });
  dear_ = spent_ns.load() >= kWorthWakingNs;
}

}  // namespace fathom::grammar
