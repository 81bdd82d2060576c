#pragma once

#include <memory>
#include <vector>

#include "base/status.h"
#include "checkpoint/checkpoint.h"
#include "config/kv_layout.h"
#include "config/model_config.h"
#include "model/mutation.h"
#include "tensor/device.h"

namespace fathom::model {

// The gated MLP of a dense layer or of one expert.
struct MlpWeights {
  WeightView gate;  // [width, hidden]
  WeightView up;    // [width, hidden]
  WeightView down;  // [hidden, width]
};

struct AttentionWeights {
  TensorView input_norm;         // [hidden]
  WeightView q_a;                // [q rank, hidden]
  TensorView q_a_norm;           // [q rank]
  WeightView q_b;                // [heads * (nope + rope), q rank]
  WeightView kv_a;               // [latent + rope, hidden]
  TensorView kv_a_norm;          // [latent]
  WeightView kv_b;               // [heads * (nope + value), latent]: the expanded form's product
  TensorView key_up_transposed;  // [heads, latent, nope]: kv_b's key part, for the query's side
  TensorView value_up;           // [heads, value, latent]: kv_b's value part
  WeightView o;                  // [hidden, heads * value]
  WeightView index_q_b;          // [index heads * index dim, q rank]
  WeightView index_k;            // [index dim, hidden]
  TensorView index_k_norm;       // [index dim]
  TensorView index_k_norm_bias;  // [index dim]
  WeightView index_weights;      // [index heads, hidden]
};

struct LayerWeights {
  AttentionWeights attention;
  TensorView post_attention_norm;  // [hidden]
  bool moe = false;
  MlpWeights dense;  // when not moe
  // When moe:
  WeightView router;                    // [experts, hidden]
  TensorView router_bias;               // [experts] f32
  std::vector<WeightView> expert_gate;  // [experts] of [width, hidden]
  std::vector<WeightView> expert_up;    // [experts] of [width, hidden]
  std::vector<WeightView> expert_down;  // [experts] of [hidden, width]
  MlpWeights shared;
};

struct DraftWeights {
  TensorView embed_norm;   // [hidden]
  TensorView hidden_norm;  // [hidden]
  WeightView project;      // [hidden, 2 * hidden]: reads [embedding ; hidden]
  LayerWeights layer;
  TensorView final_norm;  // [hidden]
};

// All weights of the model as views, in the precision stored. On a device that uses the host's
// memory they point into the checkpoint, on others at copies of it; except two: the parts of kv_b,
// which are dequantised once beside the stored matrix: to bf16 under deployed arithmetic, to
// float32 without rounding under exact; and the router's bias, as float32.
//
// Owns the copies and the dequantised parts, and shares the checkpoint with whoever else reads it.
class Weights {
 public:
  // kInvalidArgument for scales that are not finite or negative. Requires that `source` was opened
  // with expected_tensors(config).
  static Result<std::unique_ptr<Weights>> load(const config::ModelConfig& config,
                                               std::shared_ptr<const checkpoint::Checkpoint> source,
                                               config::Arithmetic arithmetic,
                                               Device& device,
                                               Mutation mutation = Mutation::kNone);

  TensorView embed;       // [vocab, hidden]
  TensorView final_norm;  // [hidden]
  WeightView head;        // [vocab, hidden]
  std::vector<LayerWeights> layers;
  std::unique_ptr<DraftWeights> draft;  // nullptr without a draft layer

  const checkpoint::Checkpoint& source() const { return *source_; }

 private:
  friend class WeightLoader;
  friend class SyntheticWeightMaker;
  std::shared_ptr<const checkpoint::Checkpoint> source_;
  std::vector<Buffer> owned_;
};

}  // namespace fathom::model
