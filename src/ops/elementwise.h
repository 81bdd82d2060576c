#pragma once

#include "base/status.h"
#include "tensor/tensor_view.h"

namespace fathom::ops {

// Activations are f32 under exact and bf16 under deployed arithmetic; sums are kept in float32 and
// a result is rounded once. Any operand with zero tokens is a no-op. Rows may be strided. Padding
// rows (position -1) are computed like all others, each from what it holds, but for rope.

// y[t, :] = table[ids[t], :]. Requires every id in [0, vocab).
struct EmbedArgs {
  TensorView ids;    // [tokens] i32
  TensorView table;  // [vocab, hidden] f32 | bf16 | f16, as stored
  TensorView y;      // [tokens, hidden] f32 | bf16
};
Status validate(const EmbedArgs& args);

// ids[i] = tokens[-1 - ids[i]] where ids[i] is negative: tokens that the previous step drew, which
// the host has not seen yet. Requires -1 - ids[i] in [0, tokens) there.
struct FillIdsArgs {
  TensorView ids;     // [rows] i32, read and written
  TensorView tokens;  // [tokens] i32
};
Status validate(const FillIdsArgs& args);

// table[index[i]] = values[i]. Requires every index in [0, entries), none twice.
struct ScatterArgs {
  TensorView index;   // [count] i32
  TensorView values;  // [count] i32
  TensorView table;   // [entries] i32
};
Status validate(const ScatterArgs& args);

// y[i, :] = x[rows[i], :]. Requires every row number in [0, tokens).
struct GatherRowsArgs {
  TensorView x;     // [tokens, width] f32 | bf16
  TensorView rows;  // [count] i32
  TensorView y;     // [count, width] same dtype as x
};
Status validate(const GatherRowsArgs& args);

// y[t, h] = x[t, h] * r * w[h], r = 1 / sqrt(mean_h(x[t, :]²) + epsilon)
struct RmsNormArgs {
  TensorView x;  // [tokens, hidden] f32 | bf16
  TensorView w;  // [hidden] f32 | bf16 | f16, as stored
  TensorView y;  // [tokens, hidden] same dtype as x; may be x itself
  float epsilon = 1e-6F;
};
Status validate(const RmsNormArgs& args);

// u = x + residual in float32; residual = round(u); y = rms_norm(u, w): the norm sees the sum
// before it is rounded (docs/arithmetic.md 2).
struct AddRmsNormArgs {
  TensorView x;         // [tokens, hidden] f32 | bf16: the branch's output
  TensorView residual;  // [tokens, hidden] same dtype as x; read and written
  TensorView w;         // [hidden] f32 | bf16 | f16
  TensorView y;         // [tokens, hidden] same dtype as x; may be x itself
  float epsilon = 1e-6F;
};
Status validate(const AddRmsNormArgs& args);

// y = (x - mean) * r * w + b over the last dimension, r = 1 / sqrt(variance + epsilon), biased.
struct LayerNormArgs {
  TensorView x;  // [tokens, width] f32 | bf16
  TensorView w;  // [width] f32 | bf16 | f16
  TensorView b;  // [width] f32 | bf16 | f16
  TensorView y;  // [tokens, width] same dtype as x; may be x itself
  float epsilon = 1e-6F;
};
Status validate(const LayerNormArgs& args);

// y = silu(gate) * up, silu(z) = z / (1 + exp(-z)); both in float32, rounded once.
struct SiluMulArgs {
  TensorView gate;  // [tokens, width] f32 | bf16
  TensorView up;    // [tokens, width] same dtype
  TensorView y;     // [tokens, width] same dtype; may be gate or up itself
};
Status validate(const SiluMulArgs& args);

// Which elements one rotation pairs.
enum class RopePairing : std::uint8_t {
  kInterleaved,  // (x[2i], x[2i+1]): the MLA's query and key
  kHalfSplit,    // (x[i], x[i + dim/2]): the indexer's query and key
};

// Rotates vectors by the angle of their token's position: pair (a, b) becomes
// (a·cos − b·sin, a·sin + b·cos), in float32, rounded once. Padding rows (position -1) stay.
struct RopeArgs {
  TensorView x;          // [tokens, heads, dim] f32 | bf16; usually a part of wider rows
  TensorView y;          // [tokens, heads, dim] same dtype; may be x itself
  TensorView positions;  // [tokens] i32, each in [-1, table positions)
  TensorView cos;        // [table positions, dim / 2] f32
  TensorView sin;        // [table positions, dim / 2] f32
  RopePairing pairing = RopePairing::kInterleaved;
};
Status validate(const RopeArgs& args);

// Token of the largest logit of each row; ties go to the lowest id. `log_sum` (optional) receives
// log Σ exp(logits), so that a token's log-probability is its logit minus that.
struct ArgmaxArgs {
  TensorView logits;   // [rows, vocab] f32
  TensorView token;    // [rows] i32
  TensorView log_sum;  // [rows] f32, or absent
};
Status validate(const ArgmaxArgs& args);

}  // namespace fathom::ops
