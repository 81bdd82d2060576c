#include "bench/model_cost.h"

#include <algorithm>

#include "base/check.h"

namespace fathom::bench {

namespace {

double bytes_of(const TensorView& view) {
  return view.present()
             ? static_cast<double>(view.elements()) * static_cast<double>(size_of(view.dtype))
             : 0;
}

using Parts = std::vector<Part>;

constexpr const char* kProducts = "FP8 products";
constexpr const char* kSmallProducts = "router, index weights";
constexpr const char* kHead = "head";
constexpr const char* kAbsorbed = "absorbed kv_b";
constexpr const char* kExperts = "routed experts";

// Adds weights that are read once and multiplied with `rows` rows.
void add(const char* component, const TensorView& weight, double rows, Parts& parts) {
  parts.push_back(
      {component, {bytes_of(weight), 2 * rows * static_cast<double>(weight.elements())}});
}

void add(const char* component, const WeightView& weight, double rows, Parts& parts) {
  add(component, weight.values, rows, parts);
  parts.back().cost.bytes += bytes_of(weight.scales);
}

void add(const model::MlpWeights& weights, double rows, Parts& parts) {
  add(kProducts, weights.gate, rows, parts);
  add(kProducts, weights.up, rows, parts);
  add(kProducts, weights.down, rows, parts);
}

void add(const model::AttentionWeights& weights, bool scored, double rows, Parts& parts) {
  for (const WeightView* weight :
       {&weights.q_a, &weights.q_b, &weights.kv_a, &weights.o, &weights.index_k}) {
    add(kProducts, *weight, rows, parts);
  }
  add(kAbsorbed, weights.key_up_transposed, rows, parts);
  add(kAbsorbed, weights.value_up, rows, parts);
  if (!scored) return;
  add(kProducts, weights.index_q_b, rows, parts);
  add(kSmallProducts, weights.index_weights, rows, parts);
}

// All experts are of one size: those that were hit are read, and every choice is multiplied.
void add_experts(const model::LayerWeights& weights, double hit, double choices, Parts& parts) {
  for (const WeightView* weight :
       {&weights.expert_gate.front(), &weights.expert_up.front(), &weights.expert_down.front()}) {
    add(kExperts, *weight, choices, parts);
    parts.back().cost.bytes *= hit;
  }
}

// What all layers of a step share.
struct StepRows {
  const config::ModelConfig& config;
  const config::KvLayout& layout;
  const std::vector<std::int32_t>& positions;

  double count() const { return static_cast<double>(positions.size()); }
  bool scored() const { return *std::ranges::max_element(positions) >= config.index_topk; }
};

void add_records(const StepRows& rows, Parts& parts) {
  const config::ModelConfig& config = rows.config;
  const double head_width = 2.0 * config.kv_lora_rank + config.qk_rope_head_dim;
  Cost attention;
  Cost scores;
  for (const std::int32_t position : rows.positions) {
    const double visible = position + 1.0;
    const double selected = std::min<double>(visible, config.index_topk);
    attention.bytes += selected * static_cast<double>(rows.layout.latent_record_bytes());
    attention.flops += selected * 2 * config.num_attention_heads * head_width;
    scores.bytes += visible * static_cast<double>(rows.layout.index_record_bytes());
    scores.flops += visible * 2 * config.index_n_heads * (config.index_head_dim + 1.0);
  }
  parts.push_back({"sparse attention", attention});
  if (rows.scored()) parts.push_back({"indexer scores", scores});
}

void add_layer(const StepRows& rows,
               const model::LayerWeights& layer,
               std::int64_t experts_hit,
               Parts& parts) {
  add(layer.attention, rows.scored(), rows.count(), parts);
  add_records(rows, parts);
  if (!layer.moe) return add(layer.dense, rows.count(), parts);
  add(kSmallProducts, layer.router, rows.count(), parts);
  add(layer.shared, rows.count(), parts);
  add_experts(layer, static_cast<double>(experts_hit),
              rows.count() * rows.config.num_experts_per_tok, parts);
}

void add_embeddings(const StepRows& rows, const model::Weights& weights, Parts& parts) {
  const double bytes = rows.count() * static_cast<double>(rows.config.hidden_size) *
                       static_cast<double>(size_of(weights.embed.dtype));
  parts.push_back({"embed, gather", {bytes, 0}});
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
      if (chosen[j] >= 0) hit[static_cast<std::size_t>(chosen[j])] = true;
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

Cost sum(const std::vector<Part>& parts) {
  Cost all;
  for (const Part& part : parts) {
    all.bytes += part.cost.bytes;
    all.flops += part.cost.flops;
  }
  return all;
}

double serial_s(const std::vector<Part>& parts, const Limits& limits) {
  double seconds = 0;
  for (const Part& part : parts) seconds += part.cost.floor_s(limits);
  return seconds;
}

std::vector<Part> step_parts(const config::ModelConfig& config,
                             const config::KvLayout& layout,
                             const model::Weights& weights,
                             const std::vector<std::int32_t>& positions,
                             std::int64_t logit_rows,
                             const RoutingProbe& probe) {
  const StepRows rows{config, layout, positions};
  Parts parts;
  add_embeddings(rows, weights, parts);
  add(kHead, weights.head, static_cast<double>(logit_rows), parts);
  for (std::int32_t i = 0; i < config.num_hidden_layers; ++i) {
    const model::LayerWeights& layer = weights.layers[static_cast<std::size_t>(i)];
    add_layer(rows, layer, layer.moe ? probe.hit(i) : 0, parts);
  }
  return parts;
}

std::vector<Part> draft_parts(const config::ModelConfig& config,
                              const config::KvLayout& layout,
                              const model::Weights& weights,
                              const std::vector<std::int32_t>& positions,
                              std::int64_t logit_rows,
                              const RoutingProbe& probe) {
  FATHOM_CHECK(weights.draft != nullptr);
  const StepRows rows{config, layout, positions};
  Parts parts;
  add_embeddings(rows, weights, parts);
  add(kProducts, weights.draft->project, rows.count(), parts);
  add_layer(rows, weights.draft->layer, probe.hit(config.num_hidden_layers), parts);
  add(kHead, weights.head, static_cast<double>(logit_rows), parts);
  return parts;
}

Cost step_cost(const config::ModelConfig& config,
               const config::KvLayout& layout,
               const model::Weights& weights,
               const std::vector<std::int32_t>& positions,
               std::int64_t logit_rows,
               const RoutingProbe& probe) {
  return sum(step_parts(config, layout, weights, positions, logit_rows, probe));
}

}  // namespace fathom::bench
