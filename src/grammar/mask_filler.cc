#include "grammar/mask_filler.h"

#include <algorithm>
#include <atomic>

#include "base/check.h"
#include "base/clock.h"

namespace fathom::grammar {

namespace {

void fill_row(std::int32_t vocab_size, MaskRow& row) {
  FATHOM_CHECK(row.mask.size() == mask_words(vocab_size));
  row.matcher->fill_mask(row.mask);
  const auto part = static_cast<std::uint32_t>(vocab_size) % 32;
  const std::uint32_t last = part == 0 ? ~0U : (1U << part) - 1;
  row.mask.back() &= last;
  row.forbids =
      row.mask.back() != last || std::any_of(row.mask.begin(), row.mask.end() - 1,
                                             [](std::uint32_t word) { return word != ~0U; });
}

}  // namespace

MaskFiller::MaskFiller(std::int32_t vocab_size, int threads)
    : vocab_size_(vocab_size), pool_(threads) {}

void MaskFiller::fill(std::span<MaskRow> rows) {
  std::atomic<std::int64_t> spent_ns{0};
  const auto fill_timed = [&](MaskRow& row) {
    const std::int64_t begin = now_ns();
    fill_row(vocab_size_, row);
    spent_ns.fetch_add(now_ns() - begin, std::memory_order_relaxed);
  };
  // Answers go on much as they did. Where the last masks were cheap these are tried alone, and the
  // others are called when that turns out to be wrong.
  std::size_t alone = 0;
  while (!dear_ && alone < rows.size() && spent_ns.load() < kWorthWakingNs) {
    fill_timed(rows[alone++]);
  }
  const std::span<MaskRow> rest = rows.subspan(alone);
  pool_.parallel_for(rest.size(), 1, [&](std::size_t begin, std::size_t end, int) {
    for (std::size_t i = begin; i < end; ++i) fill_timed(rest[i]);
  });
  dear_ = spent_ns.load() >= kWorthWakingNs;
}

}  // namespace fathom::grammar
