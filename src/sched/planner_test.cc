#include "sched/planner.h"

#include <cstdint>
#include <ostream>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fathom::sched {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::int32_t kPageTokens = 4;

std::int32_t pages_for(std::int32_t rows) { return (rows + kPageTokens - 1) / kPageTokens; }

SequenceView waiting(wire::RequestId id, std::int32_t known, std::int32_t remaining = 1) {
  SequenceView view;
  view.id = id;
  view.known = known;
  view.remaining = remaining;
  view.first_logit_row = known - 1;
  return view;
}

// In the middle of its prompt, of which it holds all pages.
SequenceView prefilling(wire::RequestId id,
                        std::int32_t known,
                        std::int32_t computed,
                        std::int32_t remaining = 1) {
  SequenceView view = waiting(id, known, remaining);
  view.running = true;
  view.computed = computed;
  view.pages = pages_for(known);
  return view;
}

// One row short of its next token; its last page is taken only when that row needs it.
SequenceView decoding(wire::RequestId id, std::int32_t known, std::int32_t remaining = 1) {
  SequenceView view = prefilling(id, known, known - 1, remaining);
  view.pages = pages_for(known - 1);
  return view;
}

// Prompt rows of which those from `first` on give log-probabilities.
SequenceView scored(SequenceView view, std::int32_t first) {
  view.first_logit_row = first;
  return view;
}

Budget roomy() {
  Budget budget;
  budget.page_tokens = kPageTokens;
  budget.pages = 1000;
  budget.max_running = 8;
  budget.chunk_tokens = 100;
  budget.max_prefill_tokens = 100;
  budget.max_logit_rows = 8;
  budget.reserve_ratio = 0;
  return budget;
}

// What a test looks at of a plan: id and rows of each entry.
struct IdRows {
  wire::RequestId id = 0;
  std::int32_t rows = 0;
  bool operator==(const IdRows&) const = default;
};
std::ostream& operator<<(std::ostream& out, const IdRows& rows) {
  return out << rows.id << " x " << rows.rows;
}

std::vector<IdRows> rows_of(const StepPlan& plan) {
  std::vector<IdRows> rows;
  for (const PlannedRows& planned : plan.rows) rows.push_back({planned.id, planned.rows});
  return rows;
}

TEST(PlanStep, NothingToDoIsAnEmptyPlan) { EXPECT_TRUE(plan_step({}, roomy()).empty()); }

TEST(PlanStep, AShortPromptIsComputedAtOnce) {
  const StepPlan plan = plan_step({waiting(1, 9, 5)}, roomy());

  ASSERT_EQ(plan.rows.size(), 1U);
  const PlannedRows& rows = plan.rows[0];
  EXPECT_EQ(rows.first, 0);
  EXPECT_EQ(rows.rows, 9);
  EXPECT_EQ(rows.new_pages, 3);
  EXPECT_EQ(rows.logit_rows, 1);
  EXPECT_TRUE(rows.admitted);
  EXPECT_TRUE(rows.completes);
}

TEST(PlanStep, DecodeAndPromptRowsShareAStep) {
  const StepPlan plan =
      plan_step({decoding(1, 9), prefilling(2, 50, 20), decoding(3, 6), waiting(4, 7)}, roomy());

  EXPECT_THAT(rows_of(plan), ElementsAre(IdRows{1, 1}, IdRows{3, 1}, IdRows{2, 30}, IdRows{4, 7}));
}

TEST(PlanStep, OneThatSitsOutKeepsItsPagesAndHasNoRows) {
  Budget budget = roomy();
  budget.pages = 5;
  SequenceView older = decoding(1, 8, 10);  // two pages
  older.sits_out = true;
  SequenceView younger = decoding(2, 9, 10);  // needs a third
  younger.pages = 3;
  StepPlan plan = plan_step({older, younger, waiting(3, 1)}, budget);
  ASSERT_EQ(plan.rows.size(), 1U);
  EXPECT_EQ(plan.rows[0].id, 2U);
  EXPECT_THAT(plan.retract, IsEmpty());
  // Where nobody else can go on, nobody does.
  plan = plan_step({older, waiting(3, 14)}, budget);  // four pages
  EXPECT_TRUE(plan.empty());
}

TEST(PlanStep, ADecodeRowTakesAPageOnlyWhenItNeedsOne) {
  const StepPlan plan = plan_step({decoding(1, 8), decoding(2, 9)}, roomy());

  EXPECT_EQ(plan.rows[0].new_pages, 0);  // row 7 is the last of the second page
  EXPECT_EQ(plan.rows[1].new_pages, 1);  // row 8 is the first of the third
}

TEST(PlanStep, PromptRowsAreBoundedByTheTighterLimitAndDecodeRowsAreBesideIt) {
  Budget budget = roomy();
  budget.chunk_tokens = 10;
  EXPECT_THAT(rows_of(plan_step({decoding(1, 9), waiting(2, 7), waiting(3, 7)}, budget)),
              ElementsAre(IdRows{1, 1}, IdRows{2, 7}, IdRows{3, 3}));

  budget.max_prefill_tokens = 6;
  EXPECT_THAT(rows_of(plan_step({decoding(1, 9), waiting(2, 7), waiting(3, 7)}, budget)),
              ElementsAre(IdRows{1, 1}, IdRows{2, 6}));
}

TEST(PlanStep, APromptLongerThanEveryLimitGoesOnInChunks) {
  Budget budget = roomy();
  budget.chunk_tokens = 50;
  budget.max_prefill_tokens = 7;

  const StepPlan first = plan_step({waiting(1, 20)}, budget);
  const StepPlan last = plan_step({prefilling(1, 20, 14)}, budget);

  EXPECT_EQ(first.rows[0].rows, 7);
  EXPECT_EQ(first.rows[0].new_pages, 5);  // of the whole prompt
  EXPECT_EQ(first.rows[0].logit_rows, 0);
  EXPECT_FALSE(first.rows[0].completes);
  EXPECT_EQ(last.rows[0].first, 14);
  EXPECT_EQ(last.rows[0].rows, 6);
  EXPECT_EQ(last.rows[0].new_pages, 0);
  EXPECT_EQ(last.rows[0].logit_rows, 1);
  EXPECT_TRUE(last.rows[0].completes);
}

TEST(PlanStep, RunningPromptsGoBeforeWaitingOnes) {
  Budget budget = roomy();
  budget.chunk_tokens = 30;

  const StepPlan plan =
      plan_step({prefilling(1, 20, 5), prefilling(2, 40, 5), waiting(3, 2)}, budget);

  EXPECT_THAT(rows_of(plan), ElementsAre(IdRows{1, 15}, IdRows{2, 15}));
}

TEST(PlanStep, PromptsOfOneStepAreCounted) {
  Budget budget = roomy();
  budget.max_prefill_requests = 2;

  const StepPlan plan =
      plan_step({decoding(1, 5), prefilling(2, 9, 4), waiting(3, 2), waiting(4, 2)}, budget);

  EXPECT_THAT(rows_of(plan), ElementsAre(IdRows{1, 1}, IdRows{2, 5}, IdRows{3, 2}));
}

TEST(PlanStep, AtMostMaxRunningHoldPages) {
  Budget budget = roomy();
  budget.max_running = 3;

  const StepPlan plan =
      plan_step({decoding(1, 5), waiting(2, 2), waiting(3, 2), waiting(4, 2)}, budget);

  EXPECT_THAT(rows_of(plan), ElementsAre(IdRows{1, 1}, IdRows{2, 2}, IdRows{3, 2}));
}

TEST(PlanStep, RowsThatGiveLogprobsAreBoundedByTheLogitRowsThatDecodeLeaves) {
  Budget budget = roomy();
  budget.max_running = 2;
  budget.max_logit_rows = 5;

  const StepPlan plan = plan_step({decoding(1, 5), scored(prefilling(2, 40, 10), 12)}, budget);

  ASSERT_EQ(plan.rows.size(), 2U);
  EXPECT_EQ(plan.rows[1].rows, 6);  // 10 and 11 without, 12 to 15 with
  EXPECT_EQ(plan.rows[1].logit_rows, 4);
}

TEST(PlanStep, APromptWaitsForALogitRowOnlyWithItsLastRow) {
  Budget budget = roomy();
  budget.max_running = 4;
  budget.max_logit_rows = 4;

  const StepPlan plan = plan_step({scored(prefilling(1, 40, 0), 0), waiting(2, 9)}, budget);
  ASSERT_EQ(plan.rows.size(), 2U);
  EXPECT_EQ(plan.rows[0].rows, 4);
  EXPECT_EQ(plan.rows[1].rows, 8);
  EXPECT_EQ(plan.rows[1].logit_rows, 0);
  EXPECT_FALSE(plan.rows[1].completes);

  // The next step serves it as decode, before the prompt that needs so many.
  const StepPlan next = plan_step({scored(prefilling(1, 40, 4), 0), prefilling(2, 9, 8)}, budget);
  EXPECT_THAT(rows_of(next), ElementsAre(IdRows{2, 1}, IdRows{1, 3}));
}

TEST(PlanStep, AShortOneDoesNotOvertakeALongOneThatDoesNotFit) {
  Budget budget = roomy();
  budget.pages = 10;

  const StepPlan plan = plan_step({decoding(1, 17), waiting(2, 30), waiting(3, 2)}, budget);

  EXPECT_THAT(rows_of(plan), ElementsAre(IdRows{1, 1}));
}

TEST(PlanStep, AdmissionKeepsTheReserveOfAllThatRunFree) {
  Budget budget = roomy();
  budget.pages = 15;
  budget.reserve_ratio = 0.5F;
  const SequenceView running = decoding(1, 8, 40);  // may come to 8 + 20 rows: 7 pages

  // 8 + 24 rows are the other 8 pages, 8 + 26 are one too many.
  EXPECT_THAT(rows_of(plan_step({running, waiting(2, 8, 48)}, budget)),
              ElementsAre(IdRows{1, 1}, IdRows{2, 8}));
  EXPECT_THAT(rows_of(plan_step({running, waiting(2, 8, 52)}, budget)), ElementsAre(IdRows{1, 1}));
}

TEST(PlanStep, TheReserveIsClipped) {
  Budget budget = roomy();
  budget.pages = 100;
  budget.reserve_ratio = 1;
  budget.reserve_clip = 40;

  // 48 rows each: 24 pages of 100.
  const StepPlan plan = plan_step({decoding(1, 8, 380), waiting(2, 8, 380)}, budget);

  EXPECT_THAT(rows_of(plan), ElementsAre(IdRows{1, 1}, IdRows{2, 8}));
}

TEST(PlanStep, NobodyReservesMoreThanItMayGenerate) {
  Budget budget = roomy();
  budget.pages = 4;
  budget.reserve_ratio = 1;

  // The last token needs no row: 8 rows each.
  const StepPlan plan = plan_step({decoding(1, 8, 1), waiting(2, 8, 1)}, budget);

  EXPECT_THAT(rows_of(plan), ElementsAre(IdRows{1, 1}, IdRows{2, 8}));
}

TEST(PlanStep, TheOldestIsAdmittedWhateverItsReserveWhenNothingRuns) {
  Budget budget = roomy();
  budget.pages = 10;
  budget.reserve_ratio = 1;

  const StepPlan plan = plan_step({waiting(1, 8, 33), waiting(2, 1, 1)}, budget);

  EXPECT_THAT(rows_of(plan), ElementsAre(IdRows{1, 8}));
}

TEST(PlanStep, TheYoungestGiveUpTheirPagesWhenDecodeNeedsMoreThanThereAre) {
  Budget budget = roomy();
  budget.pages = 6;

  // Each holds two full pages and needs a third.
  const StepPlan plan =
      plan_step({decoding(1, 9), decoding(2, 9), decoding(3, 9), waiting(4, 1)}, budget);

  EXPECT_THAT(plan.retract, ElementsAre(3));
  EXPECT_THAT(rows_of(plan), ElementsAre(IdRows{1, 1}, IdRows{2, 1}));
}

TEST(PlanStep, SeveralAreRetractedYoungestFirst) {
  Budget budget = roomy();
  budget.pages = 12;

  const StepPlan plan = plan_step(
      {decoding(1, 25, 20), decoding(2, 13), decoding(3, 5), prefilling(4, 5, 1)}, budget);

  EXPECT_THAT(plan.retract, ElementsAre(4, 3));
  EXPECT_THAT(rows_of(plan), ElementsAre(IdRows{1, 1}, IdRows{2, 1}));
}

TEST(PlanStep, TheOldestIsNeverRetracted) {
  Budget budget = roomy();
  budget.pages = 3;

  const StepPlan plan = plan_step({decoding(1, 9), decoding(2, 3)}, budget);

  EXPECT_THAT(plan.retract, ElementsAre(2));
  EXPECT_THAT(rows_of(plan), ElementsAre(IdRows{1, 1}));
}

TEST(PlanStep, ARetractedSequenceWaitsBeforeYoungerOnesAndIsComputedAgain) {
  // 2 was retracted with 3 tokens generated; 3 has never run.
  const StepPlan plan = plan_step({decoding(1, 9), waiting(2, 13, 7), waiting(3, 4, 9)}, roomy());

  EXPECT_THAT(rows_of(plan), ElementsAre(IdRows{1, 1}, IdRows{2, 13}, IdRows{3, 4}));
  EXPECT_EQ(plan.rows[1].first, 0);
  EXPECT_TRUE(plan.rows[1].admitted);
}

TEST(PlanStep, AgeIsTheIdEvenWhenAnOlderOneComesLate) {
  Budget budget = roomy();
  EXPECT_THAT(rows_of(plan_step({waiting(1, 4), decoding(2, 9)}, budget)),
              ElementsAre(IdRows{2, 1}, IdRows{1, 4}));

  budget.pages = 3;
  EXPECT_THAT(rows_of(plan_step({waiting(1, 4), decoding(2, 9)}, budget)),
              ElementsAre(IdRows{2, 1}));
}

// With a ratio of 0 and no least growth, 2 would be admitted into any room for its 40 rows, compute
// them in chunks, and lose them to the growth of 1 before its next token, again and again.
TEST(PlanStep, WhatIsAdmittedHasRoomToGetAhead) {
  Budget budget = roomy();
  budget.chunk_tokens = 4;
  const std::vector<SequenceView> both = {decoding(1, 20, 60), waiting(2, 40, 45)};

  // Ten steps for 40 rows, at most 2 in which it is held up; then 4 tokens.
  budget.pages = pages_for(20 + 12 + 4) + pages_for(40 + 12 + 4);
  EXPECT_THAT(rows_of(plan_step(both, budget)), ElementsAre(IdRows{1, 1}, IdRows{2, 4}));

  budget.pages -= 1;
  EXPECT_THAT(rows_of(plan_step(both, budget)), ElementsAre(IdRows{1, 1}));
}

TEST(PlanStep, TheRoomToGetAheadCoversTheStepsOfOlderPrompts) {
  Budget budget = roomy();
  budget.max_running = 4;
  budget.max_logit_rows = 7;
  budget.chunk_tokens = 10;
  budget.max_prefill_requests = 2;
  // In this step 1 takes the 7 logit rows, 2 the other 3 rows. Held up by 19 + 11 rows, 10 a step,
  // by 19 + 1 logit rows, of which 4 are for prompts, and by 2 prompts, 2 a step: 3 + 5 + 1 steps,
  // besides the first and the last. With a page, 15 rows of growth.
  const std::vector<SequenceView> both = {scored(prefilling(1, 26, 0, 40), 0), waiting(2, 14, 40)};

  budget.pages = pages_for(26 + 15) + pages_for(14 + 15);
  EXPECT_THAT(rows_of(plan_step(both, budget)), ElementsAre(IdRows{1, 7}, IdRows{2, 3}));

  budget.pages = pages_for(26 + 15) + pages_for(14 + 14);
  EXPECT_THAT(rows_of(plan_step(both, budget)), ElementsAre(IdRows{1, 7}));
}

TEST(PlanStep, EachAdmittedOneAsksItsOwnRoomOfAllOthers) {
  Budget budget = roomy();
  budget.chunk_tokens = 10;
  // 2 completes in this step and asks for 5 rows of growth, 3 needs more steps and asks for 10.
  const std::vector<SequenceView> sequences = {decoding(1, 20, 60), waiting(2, 4, 60),
                                               waiting(3, 36, 40)};

  budget.pages = pages_for(20 + 10) + pages_for(4 + 10) + pages_for(36 + 10);
  EXPECT_THAT(rows_of(plan_step(sequences, budget)),
              ElementsAre(IdRows{1, 1}, IdRows{2, 4}, IdRows{3, 6}));

  budget.pages -= 1;
  EXPECT_THAT(rows_of(plan_step(sequences, budget)), ElementsAre(IdRows{1, 1}, IdRows{2, 4}));
}

TEST(PlanStep, TheYoungestOfAHugeQueueDoNotMatter) {
  Budget budget = roomy();
  std::vector<SequenceView> sequences = {decoding(1, 9, 10), prefilling(2, 50, 20)};
  for (wire::RequestId id = 3; id < 50000; ++id) {
    sequences.push_back(waiting(id, 1 + static_cast<std::int32_t>(id % 5)));
  }

  const StepPlan all = plan_step(sequences, budget);
  sequences.resize(2 + static_cast<std::size_t>(budget.max_running));
  const StepPlan oldest = plan_step(sequences, budget);

  EXPECT_EQ(rows_of(all).size(), static_cast<std::size_t>(budget.max_running));
  EXPECT_EQ(rows_of(all), rows_of(oldest));
}

TEST(PlanStep, WhatCanNeverFitIsABug) {
  Budget budget = roomy();
  budget.pages = 2;
  EXPECT_DEATH(plan_step({waiting(1, 8, 2)}, budget), "request 1 can never fit");
}

TEST(PlanStep, IdsOutOfOrderAreABug) {
  EXPECT_DEATH(plan_step({waiting(2, 8), waiting(1, 8)}, roomy()), "check failed");
}

}  // namespace
}  // namespace fathom::sched
