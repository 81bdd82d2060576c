#include "model/workspace.h"

#include <algorithm>
#include <initializer_list>
#include <utility>

namespace fathom::model {

namespace {

// Indexer scores of one tile take about this many floats at most.
constexpr std::int64_t kScoreTileFloats = std::int64_t{4} << 20;

}  // namespace

Result<Workspace> Workspace::create(const config::ModelConfig& config,
                                    const ModelOptions& options,
                                    Device& device) {
  const bool exact = options.arithmetic == config::Arithmetic::kExact;
  const DType activation = exact ? DType::kF32 : DType::kBF16;
  const std::int64_t tokens = options.max_tokens;
  const std::int64_t hidden = config.hidden_size;
  const std::int64_t heads = config.num_attention_heads;
  const std::int64_t latent = config.kv_lora_rank;
  const std::int64_t rope = config.qk_rope_head_dim;
  const std::int64_t index_heads = config.index_n_heads;
  const std::int64_t chosen = config.num_experts_per_tok;
  const std::int64_t expert_width = config.moe_intermediate_size;
  const std::int64_t shared_width = expert_width * config.n_shared_experts;
  const std::int64_t dense_width = std::max<std::int64_t>(config.intermediate_size, shared_width);
  const std::int64_t widest = std::max({hidden, static_cast<std::int64_t>(config.q_lora_rank),
                                        heads * config.v_head_dim, dense_width});
  const std::int64_t rows = tokens * chosen;
  const std::int64_t row_width = std::max(hidden, expert_width);

  Workspace space;
  Status failure;
  const auto take = [&](TensorView& view, DType dtype, std::initializer_list<std::int64_t> shape) {
    if (!failure.ok()) return;
    view = TensorView(nullptr, dtype, shape);
    const auto bytes = static_cast<std::size_t>(view.elements()) * size_of(dtype);
    Result<Buffer> buffer = device.allocate(std::max<std::size_t>(bytes, 1));
    if (!buffer.ok()) {
      failure = buffer.status().in("workspace");
      return;
    }
    view.data = buffer->data();
    space.buffers_.push_back(std::move(buffer).value());
  };
  take(space.residual, activation, {tokens, hidden});
  take(space.x, activation, {tokens, hidden});
  take(space.h, activation, {tokens, hidden});
  take(space.hidden, activation, {tokens, hidden});
  if (config.num_nextn_predict_layers > 0) {
    take(space.draft_hidden, activation, {tokens, hidden});
    take(space.draft_input, activation, {tokens, 2 * hidden});
  }
  if (!exact) {
    take(space.x_values, DType::kF8E4M3, {tokens * widest});
    take(space.x_scales, DType::kF32, {tokens * ceil_div(widest, kScaleBlock)});
    take(space.rows_values, DType::kF8E4M3, {rows * row_width});
    take(space.rows_scales, DType::kF32, {rows * ceil_div(row_width, kScaleBlock)});
    take(space.index_q_values, DType::kF8E4M3, {tokens, index_heads, config.index_head_dim});
    take(space.index_q_scales, DType::kF32, {tokens, index_heads});
  }
  take(space.q_a, activation, {tokens, config.q_lora_rank});
  take(space.q_heads, activation, {tokens, heads, config.qk_head_dim()});
  take(space.kv_a, activation, {tokens, latent + rope});
  if (options.attention_form == config::AttentionForm::kAbsorbed) {
    take(space.q_absorbed, activation, {tokens, heads, latent + rope});
    take(space.attended, activation, {tokens, heads, latent});
  } else {
    const std::int64_t positions = options.max_positions;
    take(space.records, activation, {positions, latent + rope});
    take(space.keys_values, activation,
         {positions, heads, std::int64_t{config.qk_nope_head_dim} + config.v_head_dim});
    if (!exact) {
      take(space.latents_values, DType::kF8E4M3, {positions * latent});
      take(space.latents_scales, DType::kF32, {positions * ceil_div(latent, kScaleBlock)});
    }
  }
  take(space.head_values, activation, {tokens, heads, config.v_head_dim});

  take(space.index_q, activation, {tokens, index_heads, config.index_head_dim});
  take(space.index_k, activation, {tokens, config.index_head_dim});
  take(space.index_weights, DType::kF32, {tokens, index_heads});
  space.score_rows = static_cast<std::int32_t>(
      std::clamp<std::int64_t>(kScoreTileFloats / options.max_positions, 1, tokens));
  take(space.scores, DType::kF32, {space.score_rows, options.max_positions});
  take(space.selected, DType::kI32, {tokens, config.index_topk});
  take(space.count, DType::kI32, {tokens});

  take(space.dense_gate, activation, {tokens * dense_width});
  take(space.dense_up, activation, {tokens * dense_width});
  take(space.router_logits, DType::kF32, {tokens, config.n_routed_experts});
  take(space.experts, DType::kI32, {tokens, chosen});
  take(space.expert_weights, DType::kF32, {tokens, chosen});
  take(space.source, DType::kI32, {rows});
  take(space.row_of, DType::kI32, {tokens, chosen});
  take(space.offsets, DType::kI32, {config.n_routed_experts + std::int64_t{1}});
  take(space.rows_x, activation, {rows, hidden});
  take(space.rows_gate, activation, {rows, expert_width});
  take(space.rows_up, activation, {rows, expert_width});
  take(space.rows_y, activation, {rows, hidden});

  take(space.logit_hidden, activation, {options.max_logit_rows, hidden});
  take(space.logits, DType::kF32, {options.max_logit_rows, config.vocab_size});
  take(space.rope_cos, DType::kF32, {options.max_positions, rope / 2});
  take(space.rope_sin, DType::kF32, {options.max_positions, rope / 2});
  if (!failure.ok()) return failure;
  return space;
}

std::int64_t Workspace::bytes() const {
  std::int64_t sum = 0;
  for (const Buffer& buffer : buffers_) sum += static_cast<std::int64_t>(buffer.bytes());
  return sum;
}

}  // namespace fathom::model
