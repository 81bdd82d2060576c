#pragma once

#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "grammar/compiler.h"

// The masks of a step, of many answers at once.
namespace fathom::grammar {

// One answer's masks: of its next token, and of those behind drafts of it.
struct MaskRows {
  Matcher* matcher = nullptr;       // left as it was
  std::span<const TokenId> drafts;  // mask i is of the token behind the first i of them
  std::span<std::uint32_t> masks;   // 1 + drafts, mask_words(vocab_size) each
  // fill() tells: the masks that it wrote; the drafts behind are not allowed, or behind the end.
  std::size_t filled = 0;
  std::uint32_t forbids = 0;  // bit i: mask i has a token that is not allowed
};

// Fills masks on several threads where they take so long that it pays to wake them. Each answer's
// are taken by the thread that is free first, as one may cost some microseconds and the next 60 ms.
// What is written depends on the matchers alone.
//
// Threads: one at a time, whose part of the work it does. The others sleep meanwhile.
class MaskFiller {
 public:
  // `threads` counts the calling one: 1 starts none.
  MaskFiller(std::int32_t vocab_size, int threads);

  // Bits past the vocabulary are 0. Each matcher and each mask must be named once. Requires fewer
  // than 32 drafts of each.
  void fill(std::span<MaskRows> answers);

 private:
  // What masks may take on one thread: several times what it takes to wake the others.
  static constexpr std::int64_t kWorthWakingNs = 100'000;

  std::int32_t vocab_size_;
  ThreadPool pool_;
  bool dear_ = false;  // whether the masks of the last call took longer, together
};

}  // namespace fathom::grammar
