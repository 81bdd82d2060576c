#pragma once

#include <cstdint>

namespace fathom::sched {

// How much of what running requests may still generate is kept free for them when another is
// admitted: Budget::reserve_ratio over the life of an engine.
//
// Answers mostly end long before their limit, so the ratio sinks, in 600 decode steps, to a seventh
// of where it began. A retraction says that it sank too far: then it rises to the part of their
// limits that the running requests have used by now, and sinks again from there. When there is
// nothing to do it starts afresh, because the next requests need not be like the last.
//
// Threads: an ordinary value, of the engine's thread.
class Reserve {
 public:
  // Requires 0 <= initial <= 1.
  explicit Reserve(float initial);

  float ratio() const { return ratio_; }

  // After a step that had decode rows and retracted nothing.
  void on_decode();

  // After a retraction. Of the sequences that still run: how many there are, the tokens they have
  // generated, and the tokens they may generate in all. Never lowers the ratio.
  void on_retraction(std::int64_t running, std::int64_t generated, std::int64_t allowed);

  // When no request is left.
  void on_idle();

 private:
  float initial_;
  float ratio_;
};

}  // namespace fathom::sched
