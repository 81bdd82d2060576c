#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/input_arena.h"
#include "engine/step_io.h"
#include "grammar/mask_filler.h"
#include "ops/sample.h"

// What adjust_logits is given in a step.
namespace fathom::engine {

// A row of logits that something is done to.
struct AdjustedRow {
  std::int32_t row = 0;  // of the rows that draw
  const Sequence* sequence = nullptr;
  std::span<const wire::TokenId> drafts;  // that come before the token drawn
  bool forbids = false;                   // its min_new_tokens holds
  bool masked = false;                    // its constraint holds
  // Then its mask is number mask_place of the answer mask_answer.
  std::size_t mask_answer = 0;
  std::size_t mask_place = 0;
};

// Rows of a step to which something is to be done, and the answers whose constraints hold.
struct AdjustedRows {
  std::vector<AdjustedRow> rows;
  std::vector<grammar::MaskRows> answers;  // without room for their masks
};

// Penalties, biases, bans and masks of the rows that draw, laid out in an arena.
//
// These are a step's late inputs: they depend on every token before the drawn one, so they are
// filled when the step before has been collected.
struct AdjustInputs {
  Input<std::int32_t> row;
  Input<float> penalties;
  Input<std::int32_t> first_entry;
  Input<std::int32_t> token;
  Input<std::int32_t> count;
  Input<float> bias;
  Input<std::int32_t> mask_row;
  Input<std::int32_t> mask;
  bool masked = false;

  // The most that fill() takes. Of all sequences that run, the distinct tokens of their answers are
  // no more than those the pool holds; each row of one names them anew.
  static std::size_t bytes(const RunnerOptions& options, std::int32_t vocab, std::int32_t pages);

  // Rows of `chosen` to which something is to be done. Requires that their tokens are known.
  static void choose(std::span<const Work> work, const LogitRows& chosen, AdjustedRows& adjusted);
  // Requires rows.
  static AdjustInputs fill(InputArena& arena,
                           AdjustedRows& adjusted,
                           std::int32_t vocab,
                           grammar::MaskFiller& filler);

  ops::AdjustLogitsArgs args(const TensorView& logits) const;
};

}  // namespace fathom::engine
