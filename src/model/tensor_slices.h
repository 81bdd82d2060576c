#pragma once

#include <cstdint>

#include "base/status.h"
#include "config/model_config.h"
#include "model/tensor_table.h"

namespace fathom::model {

// How many ranks share a model, and how. Rank r of `tensor_parallel_size` is
//   attention    rank r mod (tp/dp) of the attention group r div (tp/dp)
//   experts      rank r mod (tp/ep) inside expert rank r div (tp/ep)
// With data_parallel_size > 1, attention is data-parallel over groups of tp/dp ranks; dense MLPs,
// shared experts and the embedding are then whole on every rank, and the head is divided inside an
// attention group only.
struct Layout {
  std::int32_t tensor_parallel_size = 1;
  std::int32_t data_parallel_size = 1;
  std::int32_t ep_size = 1;

  std::int32_t attention_ranks() const { return tensor_parallel_size / data_parallel_size; }
  std::int32_t dense_ranks() const { return data_parallel_size > 1 ? 1 : tensor_parallel_size; }
  // Ranks that share one routed expert.
  std::int32_t expert_ranks() const { return tensor_parallel_size / ep_size; }
};

// kInvalidArgument names the two numbers that do not fit: the layout's own, heads or experts over
// ranks, or a slice of an FP8 matrix that would begin inside a block of scales.
Status check_layout(const config::ModelConfig& model, const Layout& layout);

// The part of a tensor that one rank holds: rows [first_row, first_row + rows) of columns
// [first_column, first_column + columns). A vector has one column. rows is 0 where the rank holds
// nothing of it.
struct TensorSlice {
  std::int64_t first_row = 0;
  std::int64_t rows = 0;
  std::int64_t first_column = 0;
  std::int64_t columns = 0;
};

// Requires check_layout() to pass and 0 <= rank < tensor_parallel_size.
TensorSlice slice_of(const config::ModelConfig& model,
                     const ModelTensor& tensor,
                     const Layout& layout,
                     std::int32_t rank);

// The routed experts of every MoE layer that `rank` holds: [first, first + count).
struct ExpertRange {
  std::int32_t first = 0;
  std::int32_t count = 0;
};
ExpertRange experts_of(const config::ModelConfig& model, const Layout& layout, std::int32_t rank);

}  // namespace fathom::model
