#include "support/plain_model_weights.h"

#include <string>
#include <utility>

#include "base/check.h"
#include "checkpoint/checkpoint.h"
#include "model/tensor_table.h"

namespace fathom::test_support {
namespace {

using config::ModelConfig;

double stored_number(const TensorView& view, std::int64_t row, std::int64_t column) {
  switch (view.dtype) {
    case DType::kF32:
      return view.row<float>(row)[column];
    case DType::kBF16:
      return to_float(view.row<BFloat16>(row)[column]);
    case DType::kF16:
      return to_float(view.row<Float16>(row)[column]);
    case DType::kF8E4M3:
      return to_float(view.row<Float8E4M3>(row)[column]);
    default:
      FATHOM_CHECK(false);
  }
  return 0;
}

// Tensors of one layer, or of none, as doubles.
class Reader {
 public:
  Reader(const checkpoint::Checkpoint& from, std::string prefix)
      : from_(from), prefix_(std::move(prefix)) {}

  PlainMatrix read(const std::string& name) const {
    const WeightView weight = from_.weight(prefix_ + name + ".weight");
    return read(weight);
  }
  // A vector under its full name.
  PlainMatrix read_named(const std::string& name) const {
    return read(from_.weight(prefix_ + name));
  }

  PlainMlp read_mlp(const std::string& name) const {
    return {read(name + ".gate_proj"), read(name + ".up_proj"), read(name + ".down_proj")};
  }

  PlainLayer read_layer(const ModelConfig& config, bool moe) const {
    PlainLayer layer;
    layer.input_norm = read("input_layernorm");
    layer.post_attention_norm = read("post_attention_layernorm");
    layer.q_a = read("self_attn.q_a_proj");
    layer.q_a_norm = read("self_attn.q_a_layernorm");
    layer.q_b = read("self_attn.q_b_proj");
    layer.kv_a = read("self_attn.kv_a_proj_with_mqa");
    layer.kv_a_norm = read("self_attn.kv_a_layernorm");
    layer.kv_b = read("self_attn.kv_b_proj");
    layer.o = read("self_attn.o_proj");
    layer.index_q_b = read("self_attn.indexer.wq_b");
    layer.index_k = read("self_attn.indexer.wk");
    layer.index_k_norm = read("self_attn.indexer.k_norm");
    layer.index_k_bias = read_named("self_attn.indexer.k_norm.bias");
    layer.index_weights = read("self_attn.indexer.weights_proj");
    layer.moe = moe;
    layer.mlp = read_mlp(moe ? "mlp.shared_experts" : "mlp");
    if (!moe) return layer;
    layer.router = read("mlp.gate");
    layer.router_bias = read_named("mlp.gate.e_score_correction_bias");
    for (std::int32_t e = 0; e < config.n_routed_experts; ++e) {
      layer.experts.push_back(read_mlp("mlp.experts." + std::to_string(e)));
    }
    return layer;
  }

 private:
  static PlainMatrix read(const WeightView& weight) {
    const TensorView& values = weight.values;
    const bool vector = values.rank == 1;
    PlainMatrix out(vector ? 1 : values.shape[0], vector ? values.shape[0] : values.shape[1]);
    for (std::int64_t r = 0; r < out.rows; ++r) {
      for (std::int64_t c = 0; c < out.columns; ++c) {
        double& number = out.row(r)[static_cast<std::size_t>(c)];
        number = stored_number(values, r, c);
        if (weight.scales.present()) {
          number *= double{weight.scales.row<float>(r / kScaleBlock)[c / kScaleBlock]};
        }
      }
    }
    return out;
  }

  const checkpoint::Checkpoint& from_;
  std::string prefix_;
};

}  // namespace

PlainWeights read_plain_weights(const std::filesystem::path& folder, const ModelConfig& config) {
  const auto opened = checkpoint::Checkpoint::open(folder, model::expected_tensors(config)).value();
  PlainWeights weights;
  weights.embedding = Reader(*opened, "model.").read("embed_tokens");
  weights.final_norm = Reader(*opened, "model.").read("norm");
  weights.head = Reader(*opened, "").read("lm_head");
  for (std::int32_t i = 0; i < config.num_hidden_layers; ++i) {
    const bool moe = i >= config.first_k_dense_replace && i % config.moe_layer_freq == 0;
    const Reader reader(*opened, "model.layers." + std::to_string(i) + ".");
    weights.layers.push_back(reader.read_layer(config, moe));
  }
  if (config.num_nextn_predict_layers > 0) {
    const Reader reader(*opened, "model.layers." + std::to_string(config.num_hidden_layers) + ".");
    weights.draft = {reader.read("enorm"), reader.read("hnorm"), reader.read("eh_proj"),
                     reader.read("shared_head.norm"), reader.read_layer(config, true)};
  }
  return weights;
}

}  // namespace fathom::test_support
