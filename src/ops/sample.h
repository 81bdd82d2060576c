#pragma once

#include "base/status.h"
#include "tensor/tensor_view.h"

namespace fathom::ops {

// Drawing tokens, and the log-probabilities of tokens, from rows of logits (docs/arithmetic.md 8
// and 14). adjust_logits gives logits their penalties, biases and masks first; a masked token's is
// -infinity. Nothing here depends on the other rows; logits of padding rows are drawn from like any
// others, and nobody reads what was drawn. Any operand with zero rows is a no-op; rows may be
// strided.

// Below this a temperature means greedy.
constexpr float kGreedyTemperature = 1e-6F;

// The most tokens that a draw's exact sum has room for.
constexpr std::int64_t kMaxSampledVocab = std::int64_t{1} << 23;

// Changes some rows of logits before tokens are drawn from them. A row has entries, for single
// tokens, and perhaps a mask with a bit for every token:
//
//   count > 0:   x = x - (frequency * count + presence), then x = x < 0 ? x * repetition
//                                                                       : x / repetition
//   count == -1: x = -infinity: banned
//   mask bit 0:  x = -infinity
//   then         x = x + bias
//
// in float32, each step rounded, nothing fused (docs/arithmetic.md 14). Rows and tokens that are
// not named keep their bits. Work is in proportion to the entries, and to the vocabulary for rows
// with a mask.
struct AdjustLogitsArgs {
  TensorView logits;     // [rows, vocab] f32, read and written
  TensorView row;        // [adjusted] i32: of logits, each in [0, rows), none twice
  TensorView penalties;  // [adjusted, 3] f32, finite: frequency, presence, repetition > 0

  // Row i has the entries [first_entry[i], first_entry[i + 1]).
  TensorView first_entry;  // [adjusted + 1] i32, ascending, from 0 to entries
  TensorView token;        // [entries] i32, each in [0, vocab), none twice in a row
  TensorView count;        // [entries] i32 >= -1
  TensorView bias;         // [entries] f32, finite

  // Bit b of word w stands for token 32 w + b: 0 is masked. Bits past the vocabulary say nothing.
  // Both or neither.
  TensorView mask_row;  // [adjusted] i32: of mask, or -1 for none; or absent
  TensorView mask;      // [masks, ceil(vocab / 32)] i32; or absent
};
Status validate(const AdjustLogitsArgs& args);

// Draws one token a row from softmax(logits / temperature) over the tokens that the filters keep.
//
// Tokens are ranked by logit, descending, ties by ascending id. A token is kept when it is among
// the top_k first and the probability of all tokens ranked before it is at most top_p. With
// min_p > 0 that probability is relative to the top_k first tokens, not to all; and of the kept
// tokens those remain whose probability is at least min_p times the largest.
//
// The draw is the inverse of the kept tokens' cumulative distribution, in ascending id, at one
// random number of (seed, sample, position) (base/random.h). It never gives a token whose logit is
// -infinity or NaN, as long as the row's largest logit is finite.
//
// Greedy rows take the largest logit, the lowest id among equals, and no random number; so do rows
// whose largest logit is infinite. NaN counts as -infinity; a row with nothing above that gives the
// token of its first -infinity, or token 0.
//
// With `draft` and an acceptance threshold below 1, the rows that are not greedy decide on their
// drafts first: the usual lossy rule. With P the draft's probability among the kept tokens and u a
// second random number, the draft becomes the row's token when P > 0 and
//
//   u < P / accept_threshold_acc   or   P >= accept_threshold_single
//
// and otherwise the row's token is drawn from the other kept tokens. So a draft is accepted when
// it is the row's token, whatever the thresholds are (AcceptDraftsArgs). With both at 1 drafts have
// no say: a draw from all kept tokens accepts them as often.
struct SampleArgs {
  TensorView logits;       // [rows, vocab] f32; vocab in [1, kMaxSampledVocab]
  TensorView temperature;  // [rows] f32, finite; below kGreedyTemperature: greedy
  TensorView top_k;        // [rows] i32; 0, or the vocabulary and more: all
  TensorView top_p;        // [rows] f32 in (0, 1]; 1: all
  TensorView min_p;        // [rows] f32 in [0, 1]; 0: all
  TensorView seed;         // [rows, 2] i32: low and high word
  TensorView sample;       // [rows] i32: index among the samples of one prompt
  TensorView position;     // [rows] i32: of the token drawn, absolute in its sequence
  TensorView token;        // [rows] i32, out

  TensorView draft{};                 // [rows] i32, below the vocabulary; below 0: none; or absent
  float accept_threshold_single = 1;  // in [0, 1]
  float accept_threshold_acc = 1;     // in [0, 1]
  bool drafts_decide() const {
    return draft.present() && (accept_threshold_single < 1 || accept_threshold_acc < 1);
  }
};
Status validate(const SampleArgs& args);

// Which drafts the draws of a step accept (design 6a.8). A sequence has consecutive draws: the
// first from its last known token's row, the others from its drafts' rows. Draw r is only of use
// when all drafts before it are right, and the first draw that differs from the draft behind it is
// the last one of use.
//
//   accepted[i] = the largest a with drawn[first[i] + r] == draft[first[i] + r] for all r < a
//   last[i]     = row[first[i] + accepted[i]]
//   token[i]    = drawn[first[i] + accepted[i]]
//
// Requires at least one draw of each sequence, and a draft below 0, which no token is, at its last.
// Draws behind the last sequence's are padding.
struct AcceptDraftsArgs {
  TensorView first;     // [sequences + 1] i32, strictly ascending, from 0 to draws at most
  TensorView drawn;     // [draws] i32
  TensorView draft;     // [draws] i32: what the row after this draw's was computed with; or < 0
  TensorView row;       // [draws] i32: rows of the step
  TensorView accepted;  // [sequences] i32, out
  TensorView last;      // [sequences] i32, out: the last row whose draw is of use
  TensorView token;     // [sequences] i32, out: that draw
};
Status validate(const AcceptDraftsArgs& args);

// Rows that go on from other rows of a step, for drafts that are made of drafts:
//
//   next_sequence[i] = sequence[from[i]]
//   next_position[i] = position[from[i]] + ahead, or -1 (padding) when that is not below end[i], or
//                      position[from[i]] is padding
struct FollowRowsArgs {
  TensorView from;           // [count] i32, each in [0, rows)
  TensorView position;       // [rows] i32 >= -1
  TensorView sequence;       // [rows] i32
  TensorView end;            // [count] i32: positions from here on have no page
  TensorView next_position;  // [count] i32, out
  TensorView next_sequence;  // [count] i32, out
  std::int32_t ahead = 1;
};
Status validate(const FollowRowsArgs& args);

// Rows of a step that was planned before the drafts of the step before, its leader, were judged. A
// follower has rows[i] consecutive rows from row[i] on, and as many draws from draw[i] on: the
// first goes on from the last token of use of its leader's sequence l = leader[i], the others from
// that sequence's new drafts. They were planned as if no draft had been right.
//
//   id[row[i] + j]              = token[l] for j = 0, else drafted[j - 1, l]
//   position[row[i] + j]       += accepted[l]
//   drawn_position[draw[i] + j] += accepted[l]
//   draft[draw[i] + j]          = drafted[j, l] for j < rows[i] - 1; else it stays
struct AdvanceRowsArgs {
  // What AcceptDraftsArgs tells of the step before, and what was drafted behind it.
  TensorView accepted;  // [leaders] i32
  TensorView token;     // [leaders] i32
  TensorView drafted;   // [drafts, leaders] i32
  TensorView leader;    // [followers] i32, each in [0, leaders)
  TensorView row;       // [followers] i32
  TensorView draw;      // [followers] i32
  TensorView rows;      // [followers] i32, each in [1, 1 + drafts]

  TensorView id;              // [rows of the step] i32, in and out
  TensorView position;        // [rows of the step] i32, in and out
  TensorView drawn_position;  // [draws] i32, in and out
  TensorView draft;           // [draws] i32, in and out
};
Status validate(const AdvanceRowsArgs& args);

// Log-probabilities of log softmax(logits / temperature), before any filter: of one token a row, of
// the most probable ones, and of tokens asked for. Greedy rows count as temperature 1. None is
// above 0. A token whose logit is -infinity has -infinity; a row that holds a NaN or whose largest
// logit is infinite has NaN throughout.
struct LogprobsArgs {
  TensorView logits;       // [rows, vocab] f32, vocab >= 1
  TensorView temperature;  // [rows] f32, finite
  TensorView token;        // [rows] i32, each in [0, vocab)
  TensorView logprob;      // [rows] f32, out

  // The `top` largest logits, descending, ties by ascending id, NaN last; top in [1, vocab]. Both
  // or neither.
  TensorView top_ids;       // [rows, top] i32, out, or absent
  TensorView top_logprobs;  // [rows, top] f32, out, or absent

  // Both or neither.
  TensorView asked;           // [rows, asked] i32, each in [0, vocab), or -1 for none; or absent
  TensorView asked_logprobs;  // [rows, asked] f32, out; NaN where `asked` is -1; or absent
};
Status validate(const LogprobsArgs& args);

}  // namespace fathom::ops
