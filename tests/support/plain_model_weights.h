#pragma once

#include <filesystem>
#include <vector>

#include "config/model_config.h"
#include "support/plain_model_matrix.h"

namespace fathom::test_support {

// Weights as doubles, FP8 codes times their scales. Vectors are matrices of one row.

struct PlainMlp {
  PlainMatrix gate, up, down;
};

struct PlainLayer {
  PlainMatrix input_norm, post_attention_norm;
  PlainMatrix q_a, q_a_norm, q_b, kv_a, kv_a_norm, kv_b, o;
  PlainMatrix index_q_b, index_k, index_k_norm, index_k_bias, index_weights;
  bool moe = false;
  PlainMlp mlp;  // of a dense layer, or the shared expert
  PlainMatrix router, router_bias;
  std::vector<PlainMlp> experts;
};

struct PlainDraft {
  PlainMatrix embed_norm, hidden_norm, project, final_norm;
  PlainLayer layer;
};

struct PlainWeights {
  PlainMatrix embedding, final_norm, head;
  std::vector<PlainLayer> layers;
  PlainDraft draft;  // empty without a draft layer
};

// Ends the program when the folder cannot be read.
PlainWeights read_plain_weights(const std::filesystem::path& folder,
                                const config::ModelConfig& config);

}  // namespace fathom::test_support
