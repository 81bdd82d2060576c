#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "config/model_config.h"

namespace fathom::model {

// What a tensor is a part of, in sums of bytes and parameters. Everything of the draft layer is
// kDraft, whatever it does there.
enum class Part : std::uint8_t {
  kEmbedding,
  kHead,
  kNorms,  // of the residual stream; the norms inside attention and indexer belong to those
  kAttention,
  kIndexer,
  kDenseMlp,
  kGates,
  kSharedExperts,
  kRoutedExperts,
  kDraft,
  kDraftCopies,  // the draft layer's own files of embedding and head: not loaded
};
constexpr int kParts = 11;

// "attention", "routed experts" …
std::string_view part_name(Part part);

// How ranks divide a tensor. Which rank gets what depends on the layout (tensor_slices.h).
enum class Split : std::uint8_t {
  kWhole,             // every rank has it
  kEmbeddingRows,     // rows of the vocabulary
  kHeadRows,          // likewise
  kAttentionRows,     // whole heads of the output
  kAttentionColumns,  // whole heads of the input
  kDenseRows,         // of the hidden layer of a dense MLP or a shared expert
  kDenseColumns,
  kExpertRows,  // whole routed experts first, then rows of each
  kExpertColumns,
};

// One tensor of the model, without its scales.
struct ModelTensor {
  checkpoint::TensorSpec spec;
  Part part = Part::kNorms;
  Split split = Split::kWhole;
  std::int64_t unit = 1;     // rows or columns that stay together: those of one head
  std::int32_t layer = -1;   // -1: outside the layers
  std::int32_t expert = -1;  // -1: not of a routed expert
};

// Every tensor of the published format for this architecture, layer by layer.
std::vector<ModelTensor> model_tensors(const config::ModelConfig& model);

// What a checkpoint of this architecture must hold: the specs of model_tensors().
std::vector<checkpoint::TensorSpec> expected_tensors(const config::ModelConfig& model);

}  // namespace fathom::model
