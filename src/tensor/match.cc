#include "tensor/match.h"

#include <string>

namespace fathom {

OneDType::OneDType(std::initializer_list<DType> allowed) {
  FATHOM_CHECK(allowed.size() >= 1 && allowed.size() <= allowed_.size());
  for (const DType dtype : allowed) allowed_[count_++] = dtype;
}

bool OneDType::allows(DType dtype) const {
  for (std::size_t i = 0; i < count_; ++i) {
    if (allowed_[i] == dtype) return true;
  }
  return false;
}

void OneDType::bind(DType dtype) {
  allowed_[0] = dtype;
  count_ = 1;
}

std::string OneDType::describe() const {
  std::string text;
  for (std::size_t i = 0; i < count_; ++i) {
    if (i > 0) text += " or ";
    text += dtype_name(allowed_[i]);
  }
  return text;
}

Status match(const TensorView& view,
             std::string_view operand,
             std::initializer_list<Dim*> dimensions,
             OneDType& dtype) {
  const std::string name(operand);
  if (!view.present() && view.elements() != 0) return invalid_argument(name + " is absent");
  if (view.rank != static_cast<int>(dimensions.size())) {
    return invalid_argument(name + " is " + view.describe() + ", wanted " +
                            std::to_string(dimensions.size()) + " dimensions");
  }
  if (!dtype.allows(view.dtype)) {
    return invalid_argument(name + " is " + std::string(dtype_name(view.dtype)) + ", wanted " +
                            dtype.describe());
  }
  dtype.bind(view.dtype);
  std::size_t at = 0;
  for (Dim* dimension : dimensions) {
    const std::int64_t size = view.shape[at++];
    if (!dimension->bound()) dimension->bind(size);
    if (dimension->size() != size) {
      return invalid_argument(name + ": " + std::string(dimension->name()) + " is " +
                              std::to_string(size) + ", was " + std::to_string(dimension->size()));
    }
  }
  const auto last = static_cast<std::size_t>(view.rank - 1);
  if (view.shape[last] > 1 && view.stride[last] != 1) {
    return invalid_argument(name + ": elements of its last dimension are not adjacent");
  }
  return {};
}

}  // namespace fathom
