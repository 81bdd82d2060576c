#include "sched/draft_switch.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace fathom::sched {

namespace {

// Pairs of steps with drafts and without: fewer tell nothing yet.
constexpr std::size_t kFewPairs = 5;
constexpr std::int64_t kTrialEvery = 32;
constexpr std::int64_t kFirstTrialsEvery = 4;  // until there are enough
// A plain step and one with drafts that is further back are no pair.
constexpr std::int64_t kNear = 8;
// Within so many windows' steps this part of a window must have counted.
constexpr std::int64_t kPatience = 4;
constexpr std::int64_t kLeastPart = 4;
constexpr double kMostPromptShare = 0.03;

}  // namespace

void DraftSwitch::Latest::add(double number) {
  numbers_[next_] = number;
  next_ = (next_ + 1) % kKept;
  count_ = std::min(count_ + 1, kKept);
}

double DraftSwitch::Latest::median() const {
  FATHOM_CHECK(count_ > 0);
  std::array<double, kKept> sorted = numbers_;
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(count_ / 2);
  std::nth_element(sorted.begin(), middle, sorted.begin() + static_cast<std::ptrdiff_t>(count_));
  return *middle;
}

std::size_t DraftSwitch::size_of(std::int32_t decoding) {
  return std::bit_width(static_cast<std::uint32_t>(decoding)) - 1U;
}

bool DraftSwitch::verifies(std::int32_t decoding) const {
  if (!on_ || decoding < 1) return on_;
  const BatchSize& size = sizes_[size_of(decoding)];
  // When the step is counted it is one more.
  const bool makes_pair = size.just_now > 0 && all_steps_ - size.drafted_at < kNear;
  return !makes_pair || size.since_plain < (known(size) ? kTrialEvery : kFirstTrialsEvery);
}

void DraftSwitch::add(const TimedStep& step) {
  ++all_steps_;
  ++steps_;
  if (step.drafting > 0) ++verified_;
  seconds_ += step.seconds;
  if (on_ && step.prompt_rows > 0) {
    prompt_seconds_ += step.draft_seconds * step.prompt_rows / step.rows;
  }
  if (step.decoding > 0) {
    tokens_ += step.tokens;
    if (step.prompt_rows == 0) count(step, sizes_[size_of(step.decoding)]);
  }
  if (!on_) {
    if (steps_ < retry_) return;
    turn(true);
    trying_ = true;
    gain_ = 0;
    for (BatchSize& size : sizes_) size.ratios.clear();
  } else if (learnt() >= options_.window || steps_ >= kPatience * options_.window) {
    judge();
  }
}

void DraftSwitch::count(const TimedStep& step, BatchSize& size) {
  if (all_steps_ - size.drafted_at > kNear) size.just_now = 0;
  if (step.drafting == 0) {
    const double plain = step.seconds - step.draft_seconds;
    if (size.just_now > 0 && plain > 0) size.ratios.add(size.just_now / plain);
    size.just_now = 0;
    size.since_plain = 0;
    return;
  }
  ++size.since_plain;
  if (2 * step.drafting < step.decoding) return;
  size.drafting.add(step.seconds);
  size.just_now += (step.seconds - size.just_now) * (size.just_now > 0 ? 0.25 : 1);
  size.drafted_at = all_steps_;
  ++size.steps;
  size.answers += step.decoding;
  size.tokens += step.tokens;
}

bool DraftSwitch::known(const BatchSize& size) { return size.ratios.count() >= kFewPairs; }

std::int64_t DraftSwitch::learnt() const {
  std::int64_t steps = 0;
  for (const BatchSize& size : sizes_) {
    if (known(size)) steps += size.steps;
  }
  return steps;
}

void DraftSwitch::judge() {
  double without = 0;
  double with = 0;
  double tokens = 0;
  for (const BatchSize& size : sizes_) {
    if (size.steps == 0 || !known(size)) continue;
    const auto steps = static_cast<double>(size.steps);
    const auto of_size = static_cast<double>(size.tokens);
    const double seconds = steps * size.drafting.median();
    without += seconds / size.ratios.median() * of_size / static_cast<double>(size.answers);
    with += seconds;
    tokens += of_size;
  }
  if (with > 0 && learnt() >= options_.window / kLeastPart) {
    const double gain = without / (with + prompt_seconds_ * tokens / static_cast<double>(tokens_));
    gain_ = gain_ > 0 ? (3 * gain_ + gain) / 4 : gain;
    if (gain_ < options_.least_gain) return fail();
    retry_ = options_.retry;
  } else {
    gain_ = 0;
    if (trying_ || verified_ >= options_.window / kLeastPart ||
        prompt_seconds_ > kMostPromptShare * seconds_) {
      return fail();
    }
  }
  trying_ = false;
  begin_window();
}

void DraftSwitch::fail() {
  retry_ = trying_ ? std::min(2 * retry_, options_.max_retry) : options_.retry;
  turn(false);
}

void DraftSwitch::turn(bool on) {
  on_ = on;
  trying_ = false;
  begin_window();
}

void DraftSwitch::begin_window() {
  steps_ = 0;
  verified_ = 0;
  tokens_ = 0;
  seconds_ = 0;
  prompt_seconds_ = 0;
  for (BatchSize& size : sizes_) {
    size.steps = 0;
    size.answers = 0;
    size.tokens = 0;
  }
}

}  // namespace fathom::sched
