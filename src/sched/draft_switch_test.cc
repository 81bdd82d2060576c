#include "sched/draft_switch.h"

#include <cstddef>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

namespace fathom::sched {
namespace {

// A machine on which a step of `batch` answers takes plain(batch) or, with drafts, drafting(batch)
// seconds, the draft layer's a tenth of plain ones; a share of the drafts is right.
struct Machine {
  double plain_factor = 1;
  double drafting_factor = 1.5;
  double right = 0.6;
  double slower = 1;       // all of it, by this factor
  std::int32_t apart = 0;  // answers of the batch that have no drafts

  // What a step does as `drafts` says; whether it verified something.
  bool step(DraftSwitch& drafts, std::int32_t batch) {
    TimedStep step;
    step.decoding = batch;
    step.rows = batch;
    step.tokens = batch;
    step.seconds = plain_factor * batch;
    if (drafts.on()) {
      step.draft_seconds = 0.1 * batch;
      step.seconds += step.draft_seconds;
    }
    const bool verifies = drafts.verifies(batch);
    if (verifies) {
      step.drafting = batch - apart;
      step.rows = batch + step.drafting;
      left_ += right * step.drafting;
      const auto accepted = static_cast<std::int32_t>(left_);
      left_ -= accepted;
      step.tokens += accepted;
      step.seconds = drafting_factor * step.drafting + (plain_factor + 0.1) * apart;
    }
    step.seconds *= slower;
    step.draft_seconds *= slower;
    seconds += step.seconds;
    tokens += step.tokens;
    drafts.add(step);
    return verifies;
  }

  double seconds = 0;
  std::int64_t tokens = 0;

 private:
  double left_ = 0;
};

TEST(DraftSwitch, DraftsThatGainStayOn) {
  DraftSwitch drafts({});
  Machine machine;
  machine.right = 0.7;
  int verified = 0;
  for (int i = 0; i < 10000; ++i) verified += machine.step(drafts, 3) ? 1 : 0;
  EXPECT_TRUE(drafts.on());
  EXPECT_NEAR(drafts.gain(), 1.7 / 1.5, 0.01);
  EXPECT_GT(verified, 9600);
  EXPECT_LT(verified, 9720);  // one in 32 tells what a step without them takes
}

TEST(DraftSwitch, DraftsThatLoseAreOffAndTriedAgainEverMoreSeldom) {
  DraftSwitchOptions options;
  options.window = 10;
  options.retry = 100;
  options.max_retry = 400;
  DraftSwitch drafts(options);
  Machine machine;
  machine.right = 0.4;
  std::vector<int> changes;
  for (int i = 0; i < 2000; ++i) {
    const bool before = drafts.on();
    machine.step(drafts, 5);
    if (drafts.on() != before) changes.push_back(i);
  }
  // Off after the first window with its trials, then after tries with theirs.
  ASSERT_GE(changes.size(), 9U);
  EXPECT_LT(changes[0], 30);
  EXPECT_NEAR(drafts.gain(), 1.4 / 1.5, 0.02);
  const int expected_pauses[] = {100, 200, 400, 400};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(changes[2 * i + 1] - changes[2 * i], expected_pauses[i]);
    EXPECT_LE(changes[2 * i + 2] - changes[2 * i + 1], 30);
  }
}

// Whatever is right, in the long run little is lost against no drafts at all.
TEST(DraftSwitch, LittleIsLostEverywhere) {
  for (const double right : {0.0, 0.2, 0.4, 0.5, 0.6, 0.9}) {
    for (const double factor : {1.1, 1.5, 1.9, 2.2}) {
      for (const std::int32_t batch : {1, 6, 40}) {
        DraftSwitch drafts({});
        Machine machine;
        machine.right = right;
        machine.drafting_factor = factor;
        for (int i = 0; i < 40000; ++i) machine.step(drafts, batch);
        const double without = machine.plain_factor * static_cast<double>(machine.tokens);
        EXPECT_GE(without / machine.seconds, 0.97) << right << " " << factor << " " << batch;
      }
    }
  }
}

TEST(DraftSwitch, ATryThatSucceedsStaysOn) {
  DraftSwitchOptions options;
  options.retry = 200;
  DraftSwitch drafts(options);
  Machine machine;
  machine.right = 0.1;
  for (int i = 0; i < 150; ++i) machine.step(drafts, 1);
  EXPECT_FALSE(drafts.on());
  machine.right = 0.95;
  for (int i = 0; i < 1000; ++i) machine.step(drafts, 1);
  EXPECT_TRUE(drafts.on());
  EXPECT_GT(drafts.gain(), 1.2);
}

TEST(DraftSwitch, WhatTheDraftLayerTakesForPromptsCounts) {
  DraftSwitch drafts({});
  Machine machine;
  machine.right = 0.7;  // a gain of 1.13 without the prompts
  bool was_off = false;
  for (int i = 0; i < 200; ++i) {
    machine.step(drafts, 1);
    TimedStep prompt;
    prompt.prompt_rows = 100;
    prompt.rows = 100;
    prompt.seconds = 3;
    prompt.draft_seconds = 0.3;
    drafts.add(prompt);
    was_off = was_off || !drafts.on();
  }
  EXPECT_TRUE(was_off);
  EXPECT_NEAR(drafts.gain(), 1.7 / 1.8, 0.03);
}

// Gains at some sizes make up for losses at others: the whole counts.
TEST(DraftSwitch, SizesAreWeighedTogether) {
  for (const double large : {1.6, 3.0}) {
    DraftSwitch drafts({});
    Machine small;
    small.right = 0.9;
    Machine big;
    big.right = 0.9;
    big.drafting_factor = large;
    for (int i = 0; i < 300; ++i) {
      small.step(drafts, 1);
      big.step(drafts, 20);
    }
    EXPECT_EQ(drafts.on(), large < 1.9) << large;
  }
}

// Answers from before a try go on without drafts: nothing is learnt, and the try ends.
TEST(DraftSwitch, ATryOfWhichNothingIsLearntEnds) {
  DraftSwitchOptions options;
  options.window = 10;
  options.retry = 50;
  DraftSwitch drafts(options);
  Machine machine;
  machine.right = 0;
  while (drafts.on()) machine.step(drafts, 2);
  int on = 0;
  for (int i = 0; i < 900; ++i) {
    TimedStep step;
    step.decoding = 3;
    step.drafting = drafts.verifies(3) ? 1 : 0;
    step.tokens = 3;
    step.rows = 4;
    step.seconds = 2;
    on += drafts.on() ? 1 : 0;
    drafts.add(step);
  }
  // After 50, 100, 200 and 400 steps without drafts tries of 40 steps, of which the last is begun.
  EXPECT_NEAR(on, 150, 3);
  EXPECT_EQ(drafts.gain(), 0);
}

// What makes all steps slower, by and by or at once, is not laid to drafts: contexts that grow, and
// other programs.
TEST(DraftSwitch, StepsThatGetSlowerTellNothingOfDrafts) {
  for (const double right : {0.35, 0.7}) {
    for (const bool bursts : {false, true}) {
      DraftSwitch drafts({});
      Machine machine;
      machine.right = right;
      int verified = 0;
      for (int i = 0; i < 1000; ++i) {
        machine.slower = bursts ? (i / 37 % 3 == 2 ? 3 : 1) : 1 + 0.01 * i;
        verified += machine.step(drafts, 4) ? 1 : 0;
      }
      EXPECT_EQ(drafts.on(), right > 0.5) << right << " " << bursts;
      EXPECT_NEAR(drafts.gain(), (1 + right) / 1.5, 0.04) << right << " " << bursts;
      if (right < 0.5) {
        EXPECT_LT(verified, 80) << bursts;
      }
    }
  }
}

// Answers that go on without drafts among those that have them do not keep it from learning.
TEST(DraftSwitch, BatchesOfBothKindsCount) {
  for (const double right : {0.1, 0.9}) {
    DraftSwitch drafts({});
    Machine machine;
    machine.right = right;
    machine.apart = 3;
    for (int i = 0; i < 400; ++i) machine.step(drafts, 16);
    EXPECT_EQ(drafts.on(), right > 0.5) << right;
  }
}

// Where most have none nothing is learnt, and what was verified may have lost.
TEST(DraftSwitch, DraftsThatNothingIsLearntOfAreOff) {
  DraftSwitch drafts({});
  Machine machine;
  machine.apart = 12;
  machine.right = 0.9;
  for (int i = 0; i < 400; ++i) machine.step(drafts, 16);
  EXPECT_FALSE(drafts.on());
  EXPECT_EQ(drafts.gain(), 0);
}

// A step without drafts is compared with steps just before it, not with those of another time.
TEST(DraftSwitch, StepsFarApartAreNoPair) {
  DraftSwitch drafts({});
  Machine small;
  Machine large;
  small.right = large.right = 0.7;
  // The few steps of one answer, between many of several, get ever slower.
  for (int i = 0; i < 400; ++i) {
    small.step(drafts, 1);
    small.slower *= 1.01;
    for (int j = 0; j < 20; ++j) large.step(drafts, 8);
  }
  EXPECT_TRUE(drafts.on());
  EXPECT_NEAR(drafts.gain(), 1.7 / 1.5, 0.01);
}

// Prompts that came while nothing could be learnt do not weigh on the first steps that count.
TEST(DraftSwitch, PromptsWeighOnAllTokensOfTheirTime) {
  DraftSwitch drafts({});
  Machine machine;
  machine.right = 0.9;
  TimedStep mixed;  // a long answer goes on without drafts while prompts come
  mixed.decoding = 1;
  mixed.tokens = 1;
  mixed.prompt_rows = 20;
  mixed.rows = 21;
  mixed.seconds = 10;
  mixed.draft_seconds = 0.2;
  for (int i = 0; i < 1000; ++i) drafts.add(mixed);
  EXPECT_TRUE(drafts.on());
  for (int i = 0; i < 100; ++i) machine.step(drafts, 1);
  EXPECT_TRUE(drafts.on());
  EXPECT_NEAR(drafts.gain(), 1.9 / 1.5, 0.15);
}

// Where nothing is ever verified the draft layer's time for prompts is lost.
TEST(DraftSwitch, PromptsAloneTurnThemOff) {
  for (const double draft_seconds : {0.1, 0.02}) {
    DraftSwitch drafts({});
    TimedStep prompt;
    prompt.prompt_rows = 100;
    prompt.rows = 100;
    prompt.seconds = 1;
    prompt.draft_seconds = draft_seconds;
    for (int i = 0; i < 500; ++i) drafts.add(prompt);
    EXPECT_EQ(drafts.on(), draft_seconds < 0.03);
  }
}

}  // namespace
}  // namespace fathom::sched
