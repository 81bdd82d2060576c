#pragma once

#include <cstdint>

#include "base/check.h"
#include "cache/kv_store.h"
#include "config/model_config.h"
#include "model/model.h"
#include "model/weights.h"
#include "model/workspace.h"
#include "ops/op_set.h"

namespace fathom::model {

// Everything the blocks of one step share.
struct Step {
  const config::ModelConfig& config;
  const ModelOptions& options;
  const ops::OpSet& ops;
  Stream& stream;
  Workspace& space;
  const Batch& batch;
  cache::KvStore& store;
  Probe* probe;
  Replay* replay;

  std::int64_t tokens() const { return batch.ids.shape[0]; }
  bool deployed() const { return options.arithmetic == config::Arithmetic::kDeployed; }
  bool mutated_as(Mutation mutation) const { return mutated(options.mutation, mutation); }
  // A buffer's first tokens() rows.
  TensorView take(const TensorView& buffer) const { return buffer.rows(0, tokens()); }
};

// Enqueues one operation. Arguments that do not validate are a bug of the model.
template <class Args, class Op>
void run(const Step& step, Op op, const Args& args) {
  const Status status = ops::validate(args);
  FATHOM_CHECK_MSG(status.ok(), status.message());
  (step.ops.*op)(step.stream, args);
}

// A dense [rows, width] part of a flat buffer.
inline TensorView part_of(const TensorView& flat, std::int64_t rows, std::int64_t width) {
  FATHOM_CHECK(rows * width <= flat.elements());
  return {flat.data, flat.dtype, {rows, width}};
}

// The input of one or several products that read the same numbers: quantised at most once, and only
// for weights that ask for it (FP8 under deployed arithmetic).
class ProductInput {
 public:
  // `values` and `scales` are flat buffers for the quantised form.
  ProductInput(const Step& step, TensorView x, TensorView values, TensorView scales)
      : step_(step), x_(x), values_(values), scales_(scales) {}

  ops::LinearInput for_weight(const WeightView& weight) {
    if (!step_.deployed() || weight.values.dtype != DType::kF8E4M3) return {x_, {}};
    if (!quantized_) {
      quantized_ = true;
      const std::int64_t rows = x_.shape[0];
      const std::int64_t width = x_.shape[1];
      values_ = part_of(values_, rows, width);
      scales_ = part_of(scales_, rows, ceil_div(width, kScaleBlock));
      const bool ue8m0 =
          step_.config.quantization.has_value() && step_.config.quantization->ue8m0_scales;
      run(step_, &ops::OpSet::quantize, ops::QuantizeArgs{x_, values_, scales_, ue8m0});
    }
    return {values_, scales_};
  }

 private:
  const Step& step_;
  TensorView x_;
  TensorView values_;
  TensorView scales_;
  bool quantized_ = false;
};

// The input of the products that read `x` [tokens, width].
inline ProductInput product_input(const Step& step, const TensorView& x) {
  return {step, x, step.space.x_values, step.space.x_scales};
}

inline void project(const Step& step, ProductInput& x, const WeightView& w, const TensorView& y) {
  run(step, &ops::OpSet::linear, ops::LinearArgs{x.for_weight(w), w, y});
}

// attention_block.cc: h = attention(x) of one layer; writes both caches first.
void attention_block(const Step& step,
                     std::int32_t layer,
                     const AttentionWeights& weights,
                     const TensorView& x,
                     const TensorView& h);

// mlp_block.cc: h = MLP or mixture of experts of one layer.
void mlp_block(const Step& step,
               std::int32_t layer,
               const LayerWeights& weights,
               const TensorView& x,
               const TensorView& h);

}  // namespace fathom::model
