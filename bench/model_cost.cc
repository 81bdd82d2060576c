#include "bench/model_cost.h"

#include <algorithm>

namespace fathom::bench {

namespace {

double bytes_of(const TensorView& view) {
  return view.present()
             ? static_cast<double>(view.elements()) * static_cast<double>(size_of(view.dtype))
             : 0;
}

// Adds weights that are read once and multiplied with `rows` rows.
void add(const TensorView& weight, double rows, Cost& cost) {
  cost.bytes += bytes_of(weight);
  cost.flops += 2 * rows * static_cast<double>(weight.elements());
}

void add(const WeightView& weight, double rows, Cost& cost) {
  add(weight.values, rows, cost);
  cost.bytes += bytes_of(weight.scales);
}

void add(const model::MlpWeights& weights, double rows, Cost& cost) {
  add(weights.gate, rows, cost);
  add(weights.up, rows, cost);
  add(weights.down, rows, cost);
}

void add(const model::AttentionWeights& weights, bool scored, double rows, Cost& cost) {
  for (const WeightView* weight :
       {&weights.q_a, &weights.q_b, &weights.kv_a, &weights.o, &weights.index_k}) {
    add(*weight, rows, cost);
  }
  add(weights.key_up_transposed, rows, cost);
  add(weights.value_up, rows, cost);
  if (!scored) return;
  add(weights.index_q_b, rows, cost);
  add(weights.index_weights, rows, cost);
}

// All experts are of one size: those that were hit are read, and every choice is multiplied.
void add_experts(const model::LayerWeights& weights, double hit, double choices, Cost& cost) {
  Cost one;
  add({weights.expert_gate.front(), weights.expert_up.front(), weights.expert_down.front()}, 1,
      one);
  cost.bytes += hit * one.bytes;
  cost.flops += choices * one.flops;
}

}  // namespace

RoutingProbe::RoutingProbe(std::int32_t layers, std::int32_t experts)
    : hit_(static_cast<std::size_t>(layers), std::vector<bool>(static_cast<std::size_t>(experts))) {
}

void RoutingProbe::residual(std::int32_t /*layer*/, const TensorView& /*hidden*/) {}

void RoutingProbe::selection(std::int32_t /*layer*/,
                             std::int64_t /*first_row*/,
                             const TensorView& /*selected*/,
                             const TensorView& /*count*/,
                             const TensorView& /*scores*/) {}

void RoutingProbe::experts(std::int32_t layer,
                           const TensorView& experts,
                           const TensorView& /*weights*/) {
  std::vector<bool>& hit = hit_[static_cast<std::size_t>(layer)];
  hit.assign(hit.size(), false);
  for (std::int64_t t = 0; t < experts.shape[0]; ++t) {
    const auto* chosen = experts.row<const std::int32_t>(t);
    for (std::int64_t j = 0; j < experts.shape[1]; ++j) {
      hit[static_cast<std::size_t>(chosen[j])] = true;
    }
  }
}

std::int64_t RoutingProbe::hit(std::int32_t layer) const {
  const std::vector<bool>& hit = hit_[static_cast<std::size_t>(layer)];
  return std::count(hit.begin(), hit.end(), true);
}

double Cost::floor_s(const Limits& limits) const {
  return std::max(bandwidth_s(limits), compute_s(limits));
}

Cost step_cost(const config::ModelConfig& config,
               const config::KvLayout& layout,
               const model::Weights& weights,
               const std::vector<std::int32_t>& positions,
               std::int64_t logit_rows,
               const RoutingProbe& probe) {
  const auto rows = static_cast<double>(positions.size());
  const bool scored = *std::ranges::max_element(positions) >= config.index_topk;
  Cost cost;
  cost.bytes += rows * static_cast<double>(config.hidden_size) *
                static_cast<double>(size_of(weights.embed.dtype));
  add(weights.head, static_cast<double>(logit_rows), cost);
  for (std::int32_t i = 0; i < config.num_hidden_layers; ++i) {
    const model::LayerWeights& layer = weights.layers[static_cast<std::size_t>(i)];
    add(layer.attention, scored, rows, cost);
    if (layer.moe) {
      add(layer.router, rows, cost);
      add(layer.shared, rows, cost);
      add_experts(layer, static_cast<double>(probe.hit(i)), rows * config.num_experts_per_tok,
                  cost);
    } else {
      add(layer.dense, rows, cost);
    }
  }
  const double layers = config.num_hidden_layers;
  const double head_width = 2.0 * config.kv_lora_rank + config.qk_rope_head_dim;
  for (const std::int32_t position : positions) {
    const double visible = position + 1.0;
    const double selected = std::min<double>(visible, config.index_topk);
    cost.bytes += layers * selected * static_cast<double>(layout.latent_record_bytes());
    cost.flops += layers * selected * 2 * config.num_attention_heads * head_width;
    if (!scored) continue;
    cost.bytes += layers * visible * static_cast<double>(layout.index_record_bytes());
    cost.flops += layers * visible * 2 * config.index_n_heads * (config.index_head_dim + 1.0);
  }
  return cost;
}

}  // namespace fathom::bench
