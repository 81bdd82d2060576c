#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

// Whether drafts are worth their time. On a CPU they often are not: the rows of drafts cost nearly
// as much as any others, and each goes to experts of its own.
namespace fathom::sched {

struct DraftSwitchOptions {
  // Steps with drafts that a verdict is made of. A step counts when nothing but answers went on in
  // it, at least half of them with drafts.
  std::int32_t window = 48;
  // After so many steps without drafts they are tried again; after twice as many each time that
  // fails, up to max_retry.
  std::int32_t retry = 4096;
  std::int32_t max_retry = 65536;
  double least_gain = 1;  // below it they are off
};

// What is known of a step when it is over.
struct TimedStep {
  std::int32_t decoding = 0;  // answers that went on
  std::int32_t drafting = 0;  // of them, those whose drafts were verified
  std::int32_t tokens = 0;    // that they got
  std::int32_t prompt_rows = 0;
  std::int32_t rows = 0;  // all, those of drafts included
  double seconds = 0;
  double draft_seconds = 0;  // of those, the draft layer's
};

// The rule. Steps of batches of like size (within a factor of two) are taken together. Where drafts
// are on, one step in 32 verifies nothing; r is the median, over the latest of these, of the time
// of the steps with drafts just before it (in the latest 8 steps of any kind, or it tells nothing)
// to its own without the draft layer's: contexts grow and machines get busy, but both of such a
// pair alike. When `window` steps have counted, n of a size with a median time of d, which gave a
// tokens to each answer on average:
//
//   gain = sum n * a * d / r / (sum n * d + c)
//
// sums over the sizes, and c is what the draft layer took for prompt rows meanwhile, of which these
// steps bear the part that they have of all tokens that answers got. That is the time that the same
// answers would have taken without drafts, over the time that they took. Of verdicts that follow
// each other the latest has a quarter of the weight. Below least_gain drafts are off: for answers
// that are under way for good, as the draft layer's rows of what is computed meanwhile are never
// made; for others until the next try.
//
// Until five of these pairs are known of a size, one step in 4 verifies nothing. A step that would
// make no pair verifies what there is.
//
// Where 4 * window steps went by of which fewer than window / 4 count, nothing was learnt: a try
// has failed, and drafts that were on are off if window / 4 of those steps verified some, or if c,
// of all of them, was more than 3 % of their time.
//
// Threads: one.
class DraftSwitch {
 public:
  explicit DraftSwitch(const DraftSwitchOptions& options)
      : options_(options), retry_(options.retry) {}

  // Whether the next step runs the draft layer.
  bool on() const { return on_; }
  // Whether it verifies drafts, when so many answers go on in it.
  bool verifies(std::int32_t decoding) const;
  // Of the last verdict; 0 when there is none, or nothing was learnt since.
  double gain() const { return gain_; }

  // A step was run as the members above said.
  void add(const TimedStep& step);

 private:
  // The latest numbers of a kind.
  class Latest {
   public:
    void add(double number);
    void clear() { count_ = next_ = 0; }
    double median() const;
    std::size_t count() const { return count_; }

   private:
    static constexpr std::size_t kKept = 15;
    std::array<double, kKept> numbers_{};
    std::size_t count_ = 0;
    std::size_t next_ = 0;
  };
  struct BatchSize {
    Latest ratios;        // r
    Latest drafting;      // d
    double just_now = 0;  // the time of the latest steps with drafts; 0: none since a plain one
    std::int64_t drafted_at = 0;   // the last of them, in all steps that were counted
    std::int64_t since_plain = 0;  // steps that verified something
    // Of the window.
    std::int64_t steps = 0;
    std::int64_t answers = 0;
    std::int64_t tokens = 0;
  };

  static std::size_t size_of(std::int32_t decoding);
  void count(const TimedStep& step, BatchSize& size);
  // Whether r is known of a size.
  static bool known(const BatchSize& size);
  // Steps that count, of sizes of which it is.
  std::int64_t learnt() const;
  void judge();
  void fail();  // drafts lose
  void turn(bool on);
  void begin_window();

  DraftSwitchOptions options_;
  bool on_ = true;
  bool trying_ = false;  // since it was off
  double gain_ = 0;
  std::int32_t retry_;
  std::array<BatchSize, 31> sizes_;  // by the batch's binary logarithm
  std::int64_t all_steps_ = 0;
  // Since it was turned on or off, or judged.
  std::int64_t steps_ = 0;
  std::int64_t verified_ = 0;  // of them, those that verified a draft
  std::int64_t tokens_ = 0;    // that answers got
  double seconds_ = 0;
  double prompt_seconds_ = 0;  // the draft layer's, for prompt rows
};

}  // namespace fathom::sched
