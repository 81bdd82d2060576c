#include "make_checkpoint/presets.h"

#include <string>

namespace fathom::make_checkpoint {
namespace {

config::ModelConfig common() {
  config::ModelConfig model;
  model.model_type = "deepseek_v32";
  model.architecture = "DeepseekV32ForCausalLM";
  model.torch_dtype = "bfloat16";
  model.num_nextn_predict_layers = 1;
  model.first_k_dense_replace = 1;
  model.n_routed_experts = 16;
  model.n_shared_experts = 1;
  model.num_experts_per_tok = 4;
  model.n_group = 4;
  model.topk_group = 2;
  model.routed_scaling_factor = 2.5F;
  model.yarn = config::YarnConfig{40, 4096, 32, 1, 1, 1};
  model.eos_token_ids = {1};
  return model;
}

config::ModelConfig micro() {
  config::ModelConfig model = common();
  model.vocab_size = 512;
  model.hidden_size = 128;
  model.num_hidden_layers = 3;
  model.intermediate_size = 256;
  model.moe_intermediate_size = 64;
  model.num_attention_heads = 4;
  model.q_lora_rank = 96;
  model.kv_lora_rank = 64;
  model.qk_nope_head_dim = 32;
  model.qk_rope_head_dim = 16;
  model.v_head_dim = 32;
  model.index_n_heads = 16;
  model.index_head_dim = 32;
  model.index_topk = 32;
  model.max_position_embeddings = 4096;
  model.yarn->original_max_position_embeddings = 128;
  return model;
}

config::ModelConfig mid() {
  config::ModelConfig model = common();
  model.vocab_size = 16384;
  model.hidden_size = 2048;
  model.num_hidden_layers = 10;
  model.intermediate_size = 4096;
  model.moe_intermediate_size = 512;
  model.num_attention_heads = 24;
  model.q_lora_rank = 768;
  model.kv_lora_rank = 512;
  model.qk_nope_head_dim = 128;
  model.qk_rope_head_dim = 64;
  model.v_head_dim = 128;
  model.index_n_heads = 64;
  model.index_head_dim = 128;
  model.index_topk = 2048;
  model.max_position_embeddings = 163840;
  model.quantization = config::QuantizationConfig{true};
  return model;
}

}  // namespace

Result<config::ModelConfig> preset(std::string_view name) {
  if (name == "micro") return micro();
  if (name == "mid") return mid();
  return invalid_argument("preset is '" + std::string(name) + "', expected micro or mid");
}

}  // namespace fathom::make_checkpoint
