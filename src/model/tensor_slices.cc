#include "model/tensor_slices.h"

#include <string>

#include "base/check.h"
#include "tensor/tensor_view.h"

namespace fathom::model {
namespace {

// Part `index` of `count` equal parts of one dimension.
struct Share {
  std::int64_t index = 0;
  std::int64_t count = 1;

  std::int64_t begin(std::int64_t size) const { return size * index / count; }
  std::int64_t end(std::int64_t size) const { return size * (index + 1) / count; }
};

// Along which dimension, and which share of it, a rank holds of a tensor.
struct Cut {
  bool columns = false;
  Share share;
};

Cut cut_of(Split split, const Layout& layout, std::int64_t rank) {
  const Share attention{rank % layout.attention_ranks(), layout.attention_ranks()};
  const Share dense{rank % layout.dense_ranks(), layout.dense_ranks()};
  const Share expert{rank % layout.expert_ranks(), layout.expert_ranks()};
  switch (split) {
    case Split::kWhole:
      return {};
    case Split::kEmbeddingRows:
      return {false, dense};
    case Split::kHeadRows:
    case Split::kAttentionRows:
      return {false, attention};
    case Split::kAttentionColumns:
      return {true, attention};
    case Split::kDenseRows:
      return {false, dense};
    case Split::kDenseColumns:
      return {true, dense};
    case Split::kExpertRows:
      return {false, expert};
    case Split::kExpertColumns:
      return {true, expert};
  }
  return {};
}

// A vocabulary may be divided unevenly; every other dimension must come out even.
bool may_be_uneven(Split split) {
  return split == Split::kEmbeddingRows || split == Split::kHeadRows;
}

Status check_multiple(const std::string& name,
                      std::int64_t value,
                      const std::string& of,
                      std::int64_t divisor) {
  if (value % divisor == 0) return {};
  return invalid_argument(name + " is " + std::to_string(value) + ", expected a multiple of " + of +
                          " " + std::to_string(divisor));
}

Status check_cut(const config::ModelConfig& model,
                 const ModelTensor& tensor,
                 const Layout& layout) {
  const Cut cut = cut_of(tensor.split, layout, 0);
  if (cut.share.count == 1 || may_be_uneven(tensor.split)) return {};
  const std::int64_t size = tensor.spec.shape[cut.columns ? 1 : 0];
  const std::string what =
      "tensor '" + tensor.spec.name + "': " + (cut.columns ? "columns" : "rows");
  const std::int64_t units = size / tensor.unit;
  if (units % cut.share.count != 0) {
    const std::string each = tensor.unit == 1 ? "" : " of " + std::to_string(tensor.unit);
    return invalid_argument(what + ": " + std::to_string(units) + each +
                            " cannot be divided among " + std::to_string(cut.share.count) +
                            " ranks");
  }
  const std::int64_t part = size / cut.share.count;
  const bool has_scales =
      model.quantization.has_value() && tensor.spec.kind == checkpoint::TensorSpec::Kind::kMatrix;
  if (has_scales && part % kScaleBlock != 0) {
    return invalid_argument(what + ": the " + std::to_string(part) + " of one of " +
                            std::to_string(cut.share.count) +
                            " ranks would cut a block of 128 that shares one scale");
  }
  return {};
}

}  // namespace

Status check_layout(const config::ModelConfig& model, const Layout& layout) {
  constexpr std::int32_t kMostRanks = 4096;
  const std::string tp = "--tensor-parallel-size";
  const std::string dp = "--data-parallel-size";
  const std::string ep = "--ep-size";
  for (const auto& [name, value] :
       {std::pair(tp, layout.tensor_parallel_size), std::pair(dp, layout.data_parallel_size),
        std::pair(ep, layout.ep_size)}) {
    if (value < 1 || value > kMostRanks) {
      return invalid_argument(name + " is " + std::to_string(value) + ", expected 1 to " +
                              std::to_string(kMostRanks));
    }
  }
  FATHOM_RETURN_IF_ERROR(
      check_multiple(tp, layout.tensor_parallel_size, dp, layout.data_parallel_size));
  FATHOM_RETURN_IF_ERROR(check_multiple(tp, layout.tensor_parallel_size, ep, layout.ep_size));
  FATHOM_RETURN_IF_ERROR(
      check_multiple("n_routed_experts", model.n_routed_experts, ep, layout.ep_size));
  for (const ModelTensor& tensor : model_tensors(model)) {
    FATHOM_RETURN_IF_ERROR(check_cut(model, tensor, layout));
  }
  return {};
}

ExpertRange experts_of(const config::ModelConfig& model, const Layout& layout, std::int32_t rank) {
  const std::int32_t each = model.n_routed_experts / layout.ep_size;
  return {rank / layout.expert_ranks() * each, each};
}

TensorSlice slice_of(const config::ModelConfig& model,
                     const ModelTensor& tensor,
                     const Layout& layout,
                     std::int32_t rank) {
  FATHOM_CHECK(rank >= 0 && rank < layout.tensor_parallel_size);
  if (tensor.expert >= 0) {
    const ExpertRange held = experts_of(model, layout, rank);
    if (tensor.expert < held.first || tensor.expert >= held.first + held.count) return {};
  }
  const auto& shape = tensor.spec.shape;
  TensorSlice slice{0, shape[0], 0, shape.size() > 1 ? shape[1] : 1};
  const Cut cut = cut_of(tensor.split, layout, rank);
  std::int64_t& first = cut.columns ? slice.first_column : slice.first_row;
  std::int64_t& count = cut.columns ? slice.columns : slice.rows;
  const std::int64_t size = count;
  first = cut.share.begin(size);
  count = cut.share.end(size) - first;
  return slice;
}

}  // namespace fathom::model
