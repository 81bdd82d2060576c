#include "model/step.h"

namespace fathom::model {

namespace {

void gated_mlp(const Step& step, const MlpWeights& weights, ProductInput& x, const TensorView& y) {
  const std::int64_t width = weights.gate.values.shape[0];
  const TensorView gate = part_of(step.space.dense_gate, step.tokens(), width);
  const TensorView up = part_of(step.space.dense_up, step.tokens(), width);
  project(step, x, weights.gate, gate);
  project(step, x, weights.up, up);
  run(step, &ops::OpSet::silu_mul, ops::SiluMulArgs{gate, up, gate});
  ProductInput product = product_input(step, gate);
  project(step, product, weights.down, y);
}

void route(const Step& step, std::int32_t layer, const LayerWeights& weights, const TensorView& x) {
  const config::ModelConfig& config = step.config;
  const TensorView logits = step.take(step.space.router_logits);
  run(step, &ops::OpSet::linear, ops::LinearArgs{{x, {}}, weights.router, logits});
  ops::GateArgs gate;
  gate.logits = logits;
  gate.bias = weights.router_bias;
  gate.positions = step.batch.tokens.positions;
  gate.experts = step.take(step.space.experts);
  gate.weights = step.take(step.space.expert_weights);
  gate.groups = config.n_group;
  gate.kept_groups = config.topk_group;
  gate.normalize = config.norm_topk_prob && !step.mutated_as(Mutation::kGateWithoutNormalization);
  gate.scale = config.routed_scaling_factor;
  if (step.replay != nullptr) gate.replay = step.replay->experts(layer);
  run(step, &ops::OpSet::gate, gate);
  if (step.mutated_as(Mutation::kGateWeightsWithBias)) {
    for (std::int64_t t = 0; t < step.tokens(); ++t) {
      for (std::int64_t j = 0; j < config.num_experts_per_tok; ++j) {
        const std::int32_t expert = gate.experts.row<std::int32_t>(t)[j];
        if (expert < 0) continue;  // padding
        gate.weights.row<float>(t)[j] += weights.router_bias.row<float>(0)[expert];
      }
    }
  }
  if (step.probe != nullptr) step.probe->experts(layer, gate.experts, gate.weights);
  run(step, &ops::OpSet::group_by_expert,
      ops::GroupByExpertArgs{gate.experts, step.space.source.rows(0, gate.experts.elements()),
                             step.take(step.space.row_of), step.space.offsets});
}

void grouped(const Step& step,
             const ops::LinearInput& x,
             std::span<const WeightView> weights,
             const TensorView& y) {
  ops::GroupedLinearArgs args;
  args.x = x;
  args.w = weights;
  args.offsets = step.space.offsets;
  args.y = y;
  run(step, &ops::OpSet::grouped_linear, args);
}

// The chosen experts' outputs, one row per (token, choice), into space.rows_y. Where padding leaves
// fewer choices, the rows past them hold what an earlier step left: activation and quantisation go
// over them too, but no product reads them and none is part of an output.
void run_experts(const Step& step, const LayerWeights& weights, ProductInput& x) {
  Workspace& space = step.space;
  const std::int64_t rows = step.tokens() * step.config.num_experts_per_tok;
  const std::int64_t width = step.config.moe_intermediate_size;
  const std::int64_t hidden = step.config.hidden_size;
  const ops::LinearInput input = x.for_weight(weights.expert_gate.front());

  ops::ExpandRowsArgs expand;
  expand.x = input.values;
  expand.x_scales = input.scales;
  expand.source = space.source.rows(0, rows);
  expand.offsets = space.offsets;
  expand.y = space.rows_x.rows(0, rows);
  if (input.scales.present()) {
    expand.y = part_of(space.rows_values, rows, hidden);
    expand.y_scales = part_of(space.rows_scales, rows, ceil_div(hidden, kScaleBlock));
  }
  run(step, &ops::OpSet::expand_rows, expand);

  const TensorView gate = space.rows_gate.rows(0, rows);
  const TensorView up = space.rows_up.rows(0, rows);
  const ops::LinearInput expanded{expand.y, expand.y_scales};
  grouped(step, expanded, weights.expert_gate, gate);
  grouped(step, expanded, weights.expert_up, up);
  run(step, &ops::OpSet::silu_mul, ops::SiluMulArgs{gate, up, gate});
  ProductInput product(step, part_of(gate, rows, width), space.rows_values, space.rows_scales);
  grouped(step, product.for_weight(weights.expert_down.front()), weights.expert_down,
          space.rows_y.rows(0, rows));
}

}  // namespace

void mlp_block(const Step& step,
               std::int32_t layer,
               const LayerWeights& weights,
               const TensorView& x,
               const TensorView& h) {
  ProductInput input = product_input(step, x);
  if (!weights.moe) return gated_mlp(step, weights.dense, input, h);
  route(step, layer, weights, x);
  run_experts(step, weights, input);
  gated_mlp(step, weights.shared, input, h);
  const std::int64_t rows = step.tokens() * step.config.num_experts_per_tok;
  const TensorView weight = step.take(step.space.expert_weights);
  if (step.mutated_as(Mutation::kSharedExpertScaled)) {
    for (std::int64_t t = 0; t < step.tokens(); ++t) {
      for (std::int64_t i = 0; i < step.config.hidden_size; ++i) {
        h.row<float>(t)[i] *= step.config.routed_scaling_factor;
      }
    }
  }
  run(step, &ops::OpSet::combine,
      ops::CombineArgs{step.space.rows_y.rows(0, rows), step.take(step.space.row_of), weight, h,
                       h});
}

}  // namespace fathom::model
