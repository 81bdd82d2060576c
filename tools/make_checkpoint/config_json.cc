#include "make_checkpoint/config_json.h"

#include <iomanip>
#include <limits>
#include <sstream>

namespace fathom::make_checkpoint {
namespace {

class JsonObject {
 public:
  explicit JsonObject(int indent) : indent_(indent) { text_ << std::boolalpha; }

  void raw(const char* name, const std::string& json) {
    text_ << (first_ ? "{" : ",") << "\n" << std::string(static_cast<std::size_t>(indent_), ' ');
    first_ = false;
    text_ << '"' << name << "\": " << json;
  }
  void add(const char* name, const std::string& value) { raw(name, '"' + value + '"'); }
  void add(const char* name, const char* value) { add(name, std::string(value)); }
  void add(const char* name, bool value) { raw(name, value ? "true" : "false"); }
  void add(const char* name, std::int32_t value) { raw(name, std::to_string(value)); }
  void add(const char* name, float value) { number(name, value); }
  void add(const char* name, double value) { number(name, value); }
  std::string close() {
    text_ << "\n" << std::string(static_cast<std::size_t>(indent_ - 2), ' ') << "}";
    return text_.str();
  }

 private:
  // With as many digits as bring the same number back.
  template <class Number>
  void number(const char* name, Number value) {
    std::ostringstream digits;
    digits << std::setprecision(std::numeric_limits<Number>::max_digits10) << value;
    raw(name, digits.str());
  }

  std::ostringstream text_;
  int indent_;
  bool first_ = true;
};

std::string yarn_json(const config::YarnConfig& yarn) {
  JsonObject json(4);
  json.add("type", "yarn");
  json.add("factor", yarn.factor);
  json.add("original_max_position_embeddings", yarn.original_max_position_embeddings);
  json.add("beta_fast", yarn.beta_fast);
  json.add("beta_slow", yarn.beta_slow);
  json.add("mscale", yarn.mscale);
  json.add("mscale_all_dim", yarn.mscale_all_dim);
  return json.close();
}

std::string quantization_json(const config::QuantizationConfig& format) {
  JsonObject json(4);
  json.add("quant_method", "fp8");
  json.add("fmt", "e4m3");
  json.raw("weight_block_size", "[128, 128]");
  json.add("activation_scheme", "dynamic");
  if (format.ue8m0_scales) json.add("scale_fmt", "ue8m0");
  return json.close();
}

std::string ids_json(const std::vector<std::int32_t>& ids) {
  std::string json = "[";
  for (const std::int32_t id : ids) {
    if (json.size() > 1) json += ", ";
    json += std::to_string(id);
  }
  return json + "]";
}

}  // namespace

std::string config_json(const config::ModelConfig& model) {
  JsonObject json(2);
  json.raw("architectures", "[\"" + model.architecture + "\"]");
  json.add("model_type", model.model_type);
  json.add("torch_dtype", model.torch_dtype);
  json.add("vocab_size", model.vocab_size);
  json.add("hidden_size", model.hidden_size);
  json.add("num_hidden_layers", model.num_hidden_layers);
  json.add("num_nextn_predict_layers", model.num_nextn_predict_layers);
  json.add("first_k_dense_replace", model.first_k_dense_replace);
  json.add("moe_layer_freq", model.moe_layer_freq);
  json.add("intermediate_size", model.intermediate_size);
  json.add("moe_intermediate_size", model.moe_intermediate_size);
  json.add("n_routed_experts", model.n_routed_experts);
  json.add("n_shared_experts", model.n_shared_experts);
  json.add("num_experts_per_tok", model.num_experts_per_tok);
  json.add("n_group", model.n_group);
  json.add("topk_group", model.topk_group);
  json.add("topk_method", "noaux_tc");
  json.add("scoring_func", "sigmoid");
  json.add("norm_topk_prob", model.norm_topk_prob);
  json.add("routed_scaling_factor", model.routed_scaling_factor);
  json.add("num_attention_heads", model.num_attention_heads);
  json.add("num_key_value_heads", model.num_attention_heads);
  json.add("q_lora_rank", model.q_lora_rank);
  json.add("kv_lora_rank", model.kv_lora_rank);
  json.add("qk_nope_head_dim", model.qk_nope_head_dim);
  json.add("qk_rope_head_dim", model.qk_rope_head_dim);
  json.add("v_head_dim", model.v_head_dim);
  json.add("index_n_heads", model.index_n_heads);
  json.add("index_head_dim", model.index_head_dim);
  json.add("index_topk", model.index_topk);
  json.add("attention_bias", false);
  json.add("hidden_act", "silu");
  json.add("rms_norm_eps", model.rms_norm_eps);
  json.add("max_position_embeddings", model.max_position_embeddings);
  json.add("rope_theta", model.rope_theta);
  if (model.yarn) json.raw("rope_scaling", yarn_json(*model.yarn));
  if (model.quantization) json.raw("quantization_config", quantization_json(*model.quantization));
  json.add("tie_word_embeddings", model.tie_word_embeddings);
  json.add("bos_token_id", model.bos_token_id);
  json.raw("eos_token_id", ids_json(model.eos_token_ids));
  return json.close() + "\n";
}

}  // namespace fathom::make_checkpoint
