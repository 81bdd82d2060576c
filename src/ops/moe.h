#pragma once

#include "base/status.h"
#include "tensor/tensor_view.h"

namespace fathom::ops {

// A padding row chooses no expert, so no expert's matrix is read and no row is multiplied for it.

// Chooses experts by group-limited top-k over sigmoid scores with a correction bias
// (docs/arithmetic.md 7):
//   p = sigmoid(logits);  b = p + bias, used to choose only
//   a group's score is the sum of its two largest b; the best `kept_groups` groups stay
//   of their experts the k with the largest b are chosen; ties go to the lowest group or expert
//   weight = p / Σ chosen p (when `normalize`), then times `scale`
// The chosen experts of a token are written in ascending order, and the denominator adds p in that
// order.
//
// Padding rows (position -1) get expert -1 and weight 0 in every place, also with `replay`; their
// logits are not looked at.
struct GateArgs {
  TensorView logits;     // [tokens, experts] f32
  TensorView bias;       // [experts] f32
  TensorView positions;  // [tokens] i32, >= 0, or -1
  TensorView experts;    // [tokens, k] i32, ascending
  TensorView weights;    // [tokens, k] f32
  std::int32_t groups = 1;
  std::int32_t kept_groups = 1;
  bool normalize = true;
  float scale = 1;
  // Tests only: when present, the choice is taken from here (ascending) and only the weights are
  // computed, so that two runs can be compared under equal choices.
  TensorView replay;  // [tokens, k] i32, or absent
};
Status validate(const GateArgs& args);

// Sorts the (token, choice) pairs by expert, tokens ascending inside an expert.
//   source[row] = token of the row;  row_of[t, j] = row of token t's j-th choice
//   offsets[e] .. offsets[e + 1] are the rows of expert `first_expert` + e
// Choices outside the local experts have row_of -1 and no row; so has -1, a padding row's choice.
struct GroupByExpertArgs {
  TensorView experts;  // [tokens, k] i32 >= -1
  TensorView source;   // [tokens * k] i32; entries past the last offset are left as they were
  TensorView row_of;   // [tokens, k] i32
  TensorView offsets;  // [local experts + 1] i32
  std::int32_t first_expert = 0;
};
Status validate(const GroupByExpertArgs& args);

// y[row, :] = x[source[row], :] for the rows below offsets[last]; values and scales alike. Rows
// past it stay; there are some where tokens are padding or chose experts elsewhere.
struct ExpandRowsArgs {
  TensorView x;         // [tokens, hidden] f32 | bf16 | f8_e4m3
  TensorView x_scales;  // [tokens, groups] f32 with f8_e4m3, else absent
  TensorView source;    // [rows] i32
  TensorView offsets;   // [local experts + 1] i32
  TensorView y;         // [rows, hidden] same dtype as x
  TensorView y_scales;  // [rows, groups] f32 with f8_e4m3, else absent
};
Status validate(const ExpandRowsArgs& args);

// y[t, :] = Σ_j weights[t, j] · rows[row_of[t, j], :] + shared[t, :]: from 0 by fused multiply-add
// in the order of the choices (ascending expert), the shared expert last, one rounding at the end
// (docs/arithmetic.md 7). Choices whose row_of is -1 add nothing, so a padding row's y is 0 +
// shared.
struct CombineArgs {
  TensorView rows;     // [rows, hidden] f32 | bf16
  TensorView row_of;   // [tokens, k] i32 in [-1, rows)
  TensorView weights;  // [tokens, k] f32
  TensorView shared;   // [tokens, hidden] same dtype as rows
  TensorView y;        // [tokens, hidden] same dtype; may be shared itself
};
Status validate(const CombineArgs& args);

}  // namespace fathom::ops
