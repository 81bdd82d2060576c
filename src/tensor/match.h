#pragma once

#include <initializer_list>
#include <string_view>

#include "base/status.h"
#include "tensor/tensor_view.h"

namespace fathom {

// Named dimensions and dtypes for the checks of an operation's operands: the first match binds a
// name, the later ones compare, so a message can say "w: hidden is 4, was 3".

// A dimension that several operands share.
class Dim {
 public:
  explicit Dim(std::string_view name) : name_(name) {}
  // A dimension with a size known beforehand.
  Dim(std::string_view name, std::int64_t size) : name_(name), size_(size) {}
  std::string_view name() const { return name_; }
  bool bound() const { return size_ >= 0; }
  std::int64_t size() const { return size_; }
  void bind(std::int64_t size) { size_ = size; }

 private:
  std::string_view name_;
  std::int64_t size_ = -1;
};

// A dtype out of a list; once matched, the same for every operand matched with it.
class OneDType {
 public:
  OneDType(std::initializer_list<DType> allowed);
  bool allows(DType dtype) const;
  void bind(DType dtype);
  // "f32 or bf16"
  std::string describe() const;

 private:
  std::array<DType, 8> allowed_{};
  std::size_t count_ = 0;
};

// kInvalidArgument naming `operand`, the dimension or dtype, what it is and what was wanted. Also
// refuses an absent view and a last dimension that is not adjacent.
Status match(const TensorView& view,
             std::string_view operand,
             std::initializer_list<Dim*> dimensions,
             OneDType& dtype);

}  // namespace fathom
