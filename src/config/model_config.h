#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace fathom::config {

// YaRN scaling of the rotary embedding (`rope_scaling`, or `rope_parameters` in newer files).
struct YarnConfig {
  double factor = 1;
  std::int32_t original_max_position_embeddings = 4096;
  double beta_fast = 32;
  double beta_slow = 1;
  double mscale = 1;
  double mscale_all_dim = 0;
};

// FP8 block quantisation of the weights (`quantization_config`); blocks are 128 x 128.
struct QuantizationConfig {
  // `scale_fmt: "ue8m0"`: scales of activations are rounded up to powers of two.
  bool ue8m0_scales = false;
};

// The architecture as config.json describes it, under config.json's own names, plus the ids of
// generation_config.json. Every value is checked: positive sizes, dimensions that fit together,
// and nothing that this program would compute differently from what the file asks for. Sizes are
// bounded so that the bytes of any whole model that passes fit an int64.
struct ModelConfig {
  std::string model_type;
  std::string architecture;
  std::string torch_dtype;

  std::int32_t vocab_size = 0;
  std::int32_t hidden_size = 0;
  std::int32_t num_hidden_layers = 0;
  std::int32_t num_nextn_predict_layers =
      0;  // 0 or 1; the draft layer's index is num_hidden_layers

  std::int32_t first_k_dense_replace = 0;  // layers below it have a dense MLP
  std::int32_t moe_layer_freq = 1;
  std::int32_t intermediate_size = 0;
  std::int32_t moe_intermediate_size = 0;
  std::int32_t n_routed_experts = 0;
  std::int32_t n_shared_experts = 0;
  std::int32_t num_experts_per_tok = 0;
  std::int32_t n_group = 1;
  std::int32_t topk_group = 1;
  bool norm_topk_prob = true;
  float routed_scaling_factor = 1;

  std::int32_t num_attention_heads = 0;
  std::int32_t q_lora_rank = 0;
  std::int32_t kv_lora_rank = 0;
  std::int32_t qk_nope_head_dim = 0;
  std::int32_t qk_rope_head_dim = 0;
  std::int32_t v_head_dim = 0;

  std::int32_t index_n_heads = 0;
  std::int32_t index_head_dim = 0;
  std::int32_t index_topk = 0;

  float rms_norm_eps = 1e-6F;
  std::int32_t max_position_embeddings = 0;
  double rope_theta = 10000;
  std::optional<YarnConfig> yarn;
  std::optional<QuantizationConfig> quantization;
  bool tie_word_embeddings = false;

  std::int32_t bos_token_id = 0;
  std::vector<std::int32_t> eos_token_ids;  // config.json and generation_config.json together

  // Layers with attention caches: the main layers and the draft layer.
  std::int32_t layers_with_cache() const { return num_hidden_layers + num_nextn_predict_layers; }
  // Requires 0 <= layer < layers_with_cache(). The draft layer is one.
  bool is_moe_layer(std::int32_t layer) const;
  // qk_nope_head_dim + qk_rope_head_dim
  std::int32_t qk_head_dim() const { return qk_nope_head_dim + qk_rope_head_dim; }
  // 1/sqrt(qk_head_dim) times YaRN's mscale², as in both attention forms.
  float softmax_scale() const;
  // What the cosines and sines of the rotary tables are multiplied by: YaRN's
  // mscale(factor, mscale) / mscale(factor, mscale_all_dim), which is 1 when the two are equal.
  float rope_amplitude() const;
};

// Parses config.json's text. The message of a failure names the field, its value and what was
// expected. Unknown fields are ignored. Untrusted input.
//
// Fields with a default here: the draft layer (none), moe_layer_freq (1), norm_topk_prob (true),
// bos and eos ids (0, none), torch_dtype ("bfloat16"); fields with one supported value
// (hidden_act, scoring_func, topk_method …) may be left out. All others are required.
Result<ModelConfig> parse_model_config(std::string_view json);

// Reads `folder`/config.json and, if it exists, `folder`/generation_config.json (its eos ids are
// added). A failure names the file.
Result<ModelConfig> load_model_config(const std::filesystem::path& folder);

}  // namespace fathom::config
