#include "engine/step_account.h"

#include <gtest/gtest.h>

namespace fathom::engine {
namespace {

std::shared_ptr<Sequence> sequence_of(std::size_t prompt, std::size_t generated) {
  auto sequence = std::make_shared<Sequence>();
  sequence->tokens.resize(prompt + generated);
  sequence->prompt_tokens = static_cast<std::int32_t>(prompt);
  sequence->max_new_tokens = 100;
  return sequence;
}

TEST(StepAccount, WhatWaitsIsCountedInRequestsAndTokens) {
  const StepAccount account({});
  const SequencePages pages(4, std::nullopt);
  Sequences sequences;
  sequences[1] = sequence_of(10, 3);  // runs
  sequences[1]->slot = 0;
  sequences[2] = sequence_of(20, 0);
  sequences[3] = sequence_of(30, 5);  // was retracted
  sequences[3]->retractions = 1;
  sequences[4] = sequence_of(40, 1);  // its last token is under way
  sequences[4]->max_new_tokens = 1;

  wire::EngineLoad load;
  account.fill(load, sequences, pages, 0.5F);

  EXPECT_EQ(load.waiting, 2);
  EXPECT_EQ(load.waiting_retracted, 1);
  EXPECT_EQ(load.waiting_tokens, 20 + 35);
  account.fill(load, {}, pages, 0.5F);
  EXPECT_EQ(load.waiting_retracted, 0);
  EXPECT_EQ(load.waiting_tokens, 0);
}

// Rows of drafts are no tokens of anyone's.
TEST(StepAccount, LengthsOfWhatDecodesLeaveDraftsOut) {
  StepAccount account({});
  const SequencePages pages(4, std::nullopt);
  std::vector<Work> work(3);
  work[0] = {.sequence = sequence_of(10, 3), .first = 12, .rows = 1, .decodes = true};
  work[1] = {.sequence = sequence_of(20, 1), .first = 20, .rows = 4, .drafts = 3, .decodes = true};
  work[2] = {.sequence = sequence_of(50, 0), .first = 0, .rows = 50};
  account.begin(pages, 0.5F);
  account.launched(work, false, {}, pages, 0.5F, 0);

  wire::EngineLoad load;
  load.running = 3;
  account.fill(load, {}, pages, 0.5F);

  EXPECT_EQ(load.decode_context_tokens, 13 + 21);
  EXPECT_EQ(load.totals.prefill_tokens, 50);
}

TEST(StepAccount, AStepThatDecodesCountsWithoutDrafts) {
  StepAccount account({});
  account.decoded(3, 2);
  account.decoded(0, 0);
  account.decoded(1, 0);

  wire::EngineLoad load;
  account.fill(load, {}, SequencePages(4, std::nullopt), 0.5F);

  EXPECT_EQ(load.totals.drafts.steps, 3);
  EXPECT_EQ(load.totals.drafts.drafts, 4);
  EXPECT_EQ(load.totals.drafts.accepted, 2);
}

}  // namespace
}  // namespace fathom::engine
