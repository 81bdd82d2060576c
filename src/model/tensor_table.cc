#include "model/tensor_table.h"

#include <string>

#include "base/check.h"

namespace fathom::model {
namespace {

using config::ModelConfig;
using Kind = checkpoint::TensorSpec::Kind;

// A dimension as a function of the architecture.
using Size = std::int64_t (*)(const ModelConfig&);

std::int64_t one(const ModelConfig&) { return 1; }
std::int64_t vocabulary(const ModelConfig& m) { return m.vocab_size; }
std::int64_t hidden(const ModelConfig& m) { return m.hidden_size; }
std::int64_t two_hidden(const ModelConfig& m) { return std::int64_t{2} * m.hidden_size; }
std::int64_t query_rank(const ModelConfig& m) { return m.q_lora_rank; }
std::int64_t latent(const ModelConfig& m) { return m.kv_lora_rank; }
std::int64_t latent_and_rope(const ModelConfig& m) { return m.kv_lora_rank + m.qk_rope_head_dim; }
std::int64_t query_head(const ModelConfig& m) { return m.qk_head_dim(); }
std::int64_t key_value_head(const ModelConfig& m) { return m.qk_nope_head_dim + m.v_head_dim; }
std::int64_t value_head(const ModelConfig& m) { return m.v_head_dim; }
std::int64_t query_heads(const ModelConfig& m) { return m.num_attention_heads * query_head(m); }
std::int64_t key_value_heads(const ModelConfig& m) {
  return m.num_attention_heads * key_value_head(m);
}
std::int64_t value_heads(const ModelConfig& m) { return m.num_attention_heads * value_head(m); }
std::int64_t index_head(const ModelConfig& m) { return m.index_head_dim; }
std::int64_t index_heads(const ModelConfig& m) { return m.index_n_heads; }
std::int64_t index_queries(const ModelConfig& m) {
  return std::int64_t{m.index_n_heads} * m.index_head_dim;
}
std::int64_t dense_width(const ModelConfig& m) { return m.intermediate_size; }
std::int64_t expert_width(const ModelConfig& m) { return m.moe_intermediate_size; }
std::int64_t shared_width(const ModelConfig& m) {
  return std::int64_t{m.n_shared_experts} * m.moe_intermediate_size;
}
std::int64_t experts(const ModelConfig& m) { return m.n_routed_experts; }

constexpr Size kNoColumns = nullptr;

// One row of the format: which tensors there are and how ranks divide them.
struct Rule {
  const char* name;
  Part part;
  Kind kind;
  Split split;
  Size rows;
  Size columns;     // kNoColumns for a vector
  Size unit = one;  // see ModelTensor
};

using enum Part;
using enum Split;
constexpr Kind kVector = Kind::kVector;
constexpr Kind kMatrix = Kind::kMatrix;
constexpr Kind kPlain = Kind::kPlainMatrix;

constexpr Rule kFirst[] = {
    {"model.embed_tokens.weight", kEmbedding, kPlain, kEmbeddingRows, vocabulary, hidden},
};

constexpr Rule kLast[] = {
    {"model.norm.weight", kNorms, kVector, kWhole, hidden, kNoColumns},
    {"lm_head.weight", kHead, kPlain, kHeadRows, vocabulary, hidden},
};

// After "model.layers.N.", as are the next tables.
constexpr Rule kEveryLayer[] = {
    {"input_layernorm.weight", kNorms, kVector, kWhole, hidden, kNoColumns},
    {"self_attn.q_a_proj.weight", kAttention, kMatrix, kWhole, query_rank, hidden},
    {"self_attn.q_a_layernorm.weight", kAttention, kVector, kWhole, query_rank, kNoColumns},
    {"self_attn.q_b_proj.weight", kAttention, kMatrix, kAttentionRows, query_heads, query_rank,
     query_head},
    {"self_attn.kv_a_proj_with_mqa.weight", kAttention, kMatrix, kWhole, latent_and_rope, hidden},
    {"self_attn.kv_a_layernorm.weight", kAttention, kVector, kWhole, latent, kNoColumns},
    {"self_attn.kv_b_proj.weight", kAttention, kMatrix, kAttentionRows, key_value_heads, latent,
     key_value_head},
    {"self_attn.o_proj.weight", kAttention, kMatrix, kAttentionColumns, hidden, value_heads,
     value_head},
    {"self_attn.indexer.wq_b.weight", kIndexer, kMatrix, kWhole, index_queries, query_rank},
    {"self_attn.indexer.wk.weight", kIndexer, kMatrix, kWhole, index_head, hidden},
    {"self_attn.indexer.k_norm.weight", kIndexer, kVector, kWhole, index_head, kNoColumns},
    {"self_attn.indexer.k_norm.bias", kIndexer, kVector, kWhole, index_head, kNoColumns},
    {"self_attn.indexer.weights_proj.weight", kIndexer, kPlain, kWhole, index_heads, hidden},
    {"post_attention_layernorm.weight", kNorms, kVector, kWhole, hidden, kNoColumns},
};

constexpr Rule kDenseLayer[] = {
    {"mlp.gate_proj.weight", kDenseMlp, kMatrix, kDenseRows, dense_width, hidden},
    {"mlp.up_proj.weight", kDenseMlp, kMatrix, kDenseRows, dense_width, hidden},
    {"mlp.down_proj.weight", kDenseMlp, kMatrix, kDenseColumns, hidden, dense_width},
};

constexpr Rule kMoeLayer[] = {
    {"mlp.gate.weight", kGates, kPlain, kWhole, experts, hidden},
    {"mlp.gate.e_score_correction_bias", kGates, kVector, kWhole, experts, kNoColumns},
    {"mlp.shared_experts.gate_proj.weight", kSharedExperts, kMatrix, kDenseRows, shared_width,
     hidden},
    {"mlp.shared_experts.up_proj.weight", kSharedExperts, kMatrix, kDenseRows, shared_width,
     hidden},
    {"mlp.shared_experts.down_proj.weight", kSharedExperts, kMatrix, kDenseColumns, hidden,
     shared_width},
};

// After "model.layers.N.mlp.experts.E.".
constexpr Rule kExpert[] = {
    {"gate_proj.weight", kRoutedExperts, kMatrix, kExpertRows, expert_width, hidden},
    {"up_proj.weight", kRoutedExperts, kMatrix, kExpertRows, expert_width, hidden},
    {"down_proj.weight", kRoutedExperts, kMatrix, kExpertColumns, hidden, expert_width},
};

constexpr Rule kDraftLayer[] = {
    {"enorm.weight", kDraft, kVector, kWhole, hidden, kNoColumns},
    {"hnorm.weight", kDraft, kVector, kWhole, hidden, kNoColumns},
    {"eh_proj.weight", kDraft, kPlain, kWhole, hidden, two_hidden},
    {"shared_head.norm.weight", kDraft, kVector, kWhole, hidden, kNoColumns},
    {"shared_head.head.weight", kDraftCopies, kPlain, kHeadRows, vocabulary, hidden},
    {"embed_tokens.weight", kDraftCopies, kPlain, kEmbeddingRows, vocabulary, hidden},
};

class Lister {
 public:
  explicit Lister(const ModelConfig& model) : model_(model) {}

  template <std::size_t count>
  void add(const Rule (&rules)[count],
           const std::string& prefix,
           std::int32_t layer = -1,
           std::int32_t expert = -1) {
    for (const Rule& rule : rules) {
      ModelTensor tensor;
      tensor.spec.name = prefix + rule.name;
      tensor.spec.kind = rule.kind;
      tensor.spec.optional = rule.part == kDraftCopies;
      tensor.spec.shape.push_back(rule.rows(model_));
      if (rule.columns != kNoColumns) tensor.spec.shape.push_back(rule.columns(model_));
      const bool of_draft = layer == model_.num_hidden_layers && rule.part != kDraftCopies;
      tensor.part = of_draft ? kDraft : rule.part;
      tensor.split = rule.split;
      tensor.unit = rule.unit(model_);
      tensor.layer = layer;
      tensor.expert = expert;
      tensors_.push_back(std::move(tensor));
    }
  }

  void add_layer(std::int32_t layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    add(kEveryLayer, prefix, layer);
    if (!model_.is_moe_layer(layer)) {
      add(kDenseLayer, prefix, layer);
    } else {
      add(kMoeLayer, prefix, layer);
      for (std::int32_t expert = 0; expert < model_.n_routed_experts; ++expert) {
        add(kExpert, prefix + "mlp.experts." + std::to_string(expert) + ".", layer, expert);
      }
    }
    if (layer == model_.num_hidden_layers) add(kDraftLayer, prefix, layer);
  }

  std::vector<ModelTensor> take() { return std::move(tensors_); }

 private:
  const ModelConfig& model_;
  std::vector<ModelTensor> tensors_;
};

}  // namespace

std::string_view part_name(Part part) {
  switch (part) {
    case kEmbedding:
      return "embedding";
    case kHead:
      return "output head";
    case kNorms:
      return "norms";
    case kAttention:
      return "attention";
    case kIndexer:
      return "indexer";
    case kDenseMlp:
      return "dense MLP";
    case kGates:
      return "expert gates";
    case kSharedExperts:
      return "shared experts";
    case kRoutedExperts:
      return "routed experts";
    case kDraft:
      return "draft layer";
    case kDraftCopies:
      return "draft copies of embedding and head";
  }
  return "";
}

std::vector<ModelTensor> model_tensors(const ModelConfig& model) {
  Lister lister(model);
  lister.add(kFirst, "");
  for (std::int32_t layer = 0; layer < model.layers_with_cache(); ++layer) lister.add_layer(layer);
  lister.add(kLast, "");
  return lister.take();
}

std::vector<checkpoint::TensorSpec> expected_tensors(const ModelConfig& model) {
  std::vector<checkpoint::TensorSpec> specs;
  for (ModelTensor& tensor : model_tensors(model)) specs.push_back(std::move(tensor.spec));
  return specs;
}

}  // namespace fathom::model
