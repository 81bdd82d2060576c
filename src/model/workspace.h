#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "config/model_config.h"
#include "model/model.h"
#include "tensor/device.h"

namespace fathom::model {

// The buffers that a step's operations write, sized for ModelOptions at the start and used again by
// every layer. A view's first dimension is the maximum; a step takes its first rows.
// A is the activation dtype: f32 under exact, bf16 under deployed arithmetic.
struct Workspace {
  static Result<Workspace> create(const config::ModelConfig& config,
                                  const ModelOptions& options,
                                  Device& device);

  // Rows of one tile of indexer scores.
  std::int32_t score_rows = 0;

  TensorView residual;      // A [tokens, hidden]
  TensorView x;             // A [tokens, hidden]: a block's input
  TensorView h;             // A [tokens, hidden]: a block's output
  TensorView hidden;        // A [tokens, hidden]: after the final norm
  TensorView draft_hidden;  // A [tokens, hidden]
  TensorView draft_input;   // A [tokens, 2 * hidden]
  TensorView x_values;      // e4m3 [tokens, widest input]: the quantised input of a product
  TensorView x_scales;      // f32 [tokens * widest groups]

  TensorView q_a;          // A [tokens, q rank]
  TensorView q_heads;      // A [tokens, heads, nope + rope]
  TensorView q_absorbed;   // A [tokens, heads, latent + rope]; absorbed form alone
  TensorView kv_a;         // A [tokens, latent + rope]
  TensorView attended;     // A [tokens, heads, latent]; absorbed form alone
  TensorView head_values;  // A [tokens, heads, value]

  // Expanded form alone: one sequence's records and what kv_b makes of them.
  TensorView records;         // A [positions, latent + rope]
  TensorView latents_values;  // e4m3 [positions * latent]
  TensorView latents_scales;  // f32 [positions * groups]
  TensorView keys_values;     // A [positions, heads, nope + value]

  TensorView index_q;         // A [tokens, index heads, index dim]
  TensorView index_q_values;  // e4m3, the same shape
  TensorView index_q_scales;  // f32 [tokens, index heads]
  TensorView index_k;         // A [tokens, index dim]
  TensorView index_weights;   // f32 [tokens, index heads]
  TensorView scores;          // f32 [score rows, positions]
  TensorView selected;        // i32 [tokens, top k]
  TensorView count;           // i32 [tokens]

  TensorView dense_gate;  // A [tokens, widest dense or shared MLP]
  TensorView dense_up;

  TensorView router_logits;   // f32 [tokens, experts]
  TensorView experts;         // i32 [tokens, chosen]
  TensorView expert_weights;  // f32 [tokens, chosen]
  TensorView source;          // i32 [rows], rows = tokens * chosen
  TensorView row_of;          // i32 [tokens, chosen]
  TensorView offsets;         // i32 [experts + 1]
  TensorView rows_x;          // A [rows, hidden]
  TensorView rows_values;     // e4m3 [rows, wider of hidden and expert width]
  TensorView rows_scales;     // f32 [rows * groups]
  TensorView rows_gate;       // A [rows, expert width]
  TensorView rows_up;         // A [rows, expert width]
  TensorView rows_y;          // A [rows, hidden]

  TensorView logit_hidden;  // A [logit rows, hidden]
  TensorView logits;        // f32 [logit rows, vocab]
  TensorView rope_cos;      // f32 [positions, rope / 2]
  TensorView rope_sin;      // f32 [positions, rope / 2]

  std::int64_t bytes() const;

 private:
  std::vector<Buffer> buffers_;
};

}  // namespace fathom::model
