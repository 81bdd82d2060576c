#include "tensor/tensor_view.h"

namespace fathom {

TensorView::TensorView(void* bytes, DType type, std::initializer_list<std::int64_t> dimensions)
    : data(bytes), dtype(type), rank(static_cast<int>(dimensions.size())) {
  FATHOM_CHECK(rank >= 1 && rank <= kMaxRank);
  std::size_t at = 0;
  for (const std::int64_t size : dimensions) {
    FATHOM_CHECK(size >= 0);
    shape[at++] = size;
  }
  std::int64_t step = 1;
  for (int i = rank - 1; i >= 0; --i) {
    stride[static_cast<std::size_t>(i)] = step;
    step *= shape[static_cast<std::size_t>(i)];
  }
}

std::int64_t TensorView::elements() const {
  std::int64_t count = 1;
  for (int i = 0; i < rank; ++i) count *= shape[static_cast<std::size_t>(i)];
  return count;
}

bool TensorView::dense() const {
  std::int64_t step = 1;
  for (int i = rank - 1; i >= 0; --i) {
    const auto at = static_cast<std::size_t>(i);
    if (shape[at] > 1 && stride[at] != step) return false;
    step *= shape[at];
  }
  return true;
}

TensorView TensorView::rows(std::int64_t begin, std::int64_t count) const {
  FATHOM_CHECK(rank >= 1 && begin >= 0 && count >= 0 && begin + count <= shape[0]);
  TensorView part = *this;
  part.data =
      static_cast<std::byte*>(data) + begin * stride[0] * static_cast<std::int64_t>(size_of(dtype));
  part.shape[0] = count;
  return part;
}

TensorView TensorView::columns(std::int64_t begin, std::int64_t count) const {
  const auto last = static_cast<std::size_t>(rank - 1);
  FATHOM_CHECK(rank >= 1 && begin >= 0 && count >= 0 && begin + count <= shape[last]);
  TensorView part = *this;
  part.data = static_cast<std::byte*>(data) + begin * static_cast<std::int64_t>(size_of(dtype));
  part.shape[last] = count;
  return part;
}

TensorView TensorView::reshape(std::initializer_list<std::int64_t> new_shape) const {
  FATHOM_CHECK(dense());
  const TensorView view(data, dtype, new_shape);
  FATHOM_CHECK(view.elements() == elements());
  return view;
}

std::string TensorView::describe() const {
  std::string text(dtype_name(dtype));
  text += '[';
  for (int i = 0; i < rank; ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(shape[static_cast<std::size_t>(i)]);
  }
  return text + ']';
}

}  // namespace fathom
