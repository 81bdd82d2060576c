#include "model/tensor_sums.h"

#include "tensor/tensor_view.h"

namespace fathom::model {
namespace {

using checkpoint::TensorSpec;

Amount amount_of(const TensorSlice& slice, DType dtype) {
  if (slice.rows == 0 || slice.columns == 0) return {};
  Amount amount;
  amount.tensors = 1;
  amount.parameters = slice.rows * slice.columns;
  amount.bytes = amount.parameters * static_cast<std::int64_t>(size_of(dtype));
  if (dtype == DType::kF8E4M3) {
    amount.tensors = 2;
    amount.scales = ceil_div(slice.rows, kScaleBlock) * ceil_div(slice.columns, kScaleBlock);
    amount.bytes += amount.scales * static_cast<std::int64_t>(sizeof(float));
  }
  return amount;
}

}  // namespace

Amount& Amount::operator+=(const Amount& other) {
  tensors += other.tensors;
  parameters += other.parameters;
  scales += other.scales;
  bytes += other.bytes;
  return *this;
}

Amount PartSums::total() const {
  Amount sum;
  for (const Amount& part : parts) sum += part;
  return sum;
}

Amount PartSums::main_model() const {
  PartSums main = *this;
  main[Part::kDraft] = main[Part::kDraftCopies] = {};
  return main.total();
}

Amount PartSums::loaded() const {
  PartSums held = *this;
  held[Part::kDraftCopies] = {};
  return held.total();
}

StoredDType published_dtypes(const config::ModelConfig& model) {
  const DType matrix = model.quantization ? DType::kF8E4M3 : DType::kBF16;
  return [matrix](const TensorSpec& spec) {
    switch (spec.kind) {
      case TensorSpec::Kind::kVector:
        return DType::kF32;
      case TensorSpec::Kind::kMatrix:
        return matrix;
      case TensorSpec::Kind::kPlainMatrix:
        return DType::kBF16;
    }
    return DType::kF32;
  };
}

PartSums sum_checkpoint(const std::vector<ModelTensor>& tensors, const StoredDType& dtype_of) {
  PartSums sums;
  for (const ModelTensor& tensor : tensors) {
    const auto& shape = tensor.spec.shape;
    const TensorSlice whole{0, shape[0], 0, shape.size() > 1 ? shape[1] : 1};
    sums[tensor.part] += amount_of(whole, dtype_of(tensor.spec));
  }
  return sums;
}

PartSums sum_rank(const config::ModelConfig& model,
                  const std::vector<ModelTensor>& tensors,
                  const StoredDType& dtype_of,
                  const Layout& layout,
                  std::int32_t rank) {
  PartSums sums;
  for (const ModelTensor& tensor : tensors) {
    if (tensor.part == Part::kDraftCopies) continue;
    const TensorSlice slice = slice_of(model, tensor, layout, rank);
    if (slice.rows == 0) continue;
    sums[tensor.part] += amount_of(slice, dtype_of(tensor.spec));
  }
  return sums;
}

ActivatedParameters activated_parameters(const config::ModelConfig& model, const PartSums& sums) {
  const std::int64_t routed = sums[Part::kRoutedExperts].parameters;
  const std::int64_t chosen = routed / model.n_routed_experts * model.num_experts_per_tok;
  const std::int64_t head = sums[Part::kHead].parameters;
  const std::int64_t embedding = sums[Part::kEmbedding].parameters;
  ActivatedParameters activated;
  activated.layers = sums.main_model().parameters - head - embedding - routed + chosen;
  activated.with_head = activated.layers + head;
  activated.with_head_and_embedding = activated.with_head + embedding;
  return activated;
}

}  // namespace fathom::model
