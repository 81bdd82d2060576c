#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "config/model_config.h"
#include "model/tensor_slices.h"
#include "model/tensor_table.h"

namespace fathom::model {

// How much something is. Scales of FP8 matrices are tensors and bytes, but not parameters.
struct Amount {
  std::int64_t tensors = 0;
  std::int64_t parameters = 0;
  std::int64_t scales = 0;
  std::int64_t bytes = 0;

  Amount& operator+=(const Amount& other);
  bool operator==(const Amount&) const = default;
};

// Amounts by Part.
struct PartSums {
  std::array<Amount, kParts> parts{};

  const Amount& operator[](Part part) const { return parts[static_cast<std::size_t>(part)]; }
  Amount& operator[](Part part) { return parts[static_cast<std::size_t>(part)]; }
  Amount total() const;
  // Without the draft layer and its copies.
  Amount main_model() const;
  // Without the copies alone: what a process loads.
  Amount loaded() const;
  bool operator==(const PartSums&) const = default;
};

// How a checkpoint stores a tensor.
using StoredDType = std::function<DType(const checkpoint::TensorSpec&)>;

// As the published checkpoint does: f32 vectors, bf16 plain matrices, and matrices in f8_e4m3 when
// the configuration quantises, else in bf16.
StoredDType published_dtypes(const config::ModelConfig& model);

// All files. Optional tensors count as present.
PartSums sum_checkpoint(const std::vector<ModelTensor>& tensors, const StoredDType& dtype_of);

// What `rank` of a layout holds, without the draft layer's copies. Requires check_layout() to pass.
PartSums sum_rank(const config::ModelConfig& model,
                  const std::vector<ModelTensor>& tensors,
                  const StoredDType& dtype_of,
                  const Layout& layout,
                  std::int32_t rank);

// Parameters of the main model that take part in one token's forward pass.
struct ActivatedParameters {
  std::int64_t layers = 0;  // without embedding and head, with the final norm
  std::int64_t with_head = 0;
  std::int64_t with_head_and_embedding = 0;
};
ActivatedParameters activated_parameters(const config::ModelConfig& model, const PartSums& sums);

}  // namespace fathom::model
