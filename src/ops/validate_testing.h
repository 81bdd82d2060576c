#pragma once

#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/status.h"
#include "tensor/tensor_view.h"

// What the tests of validate() share.
namespace fathom::ops {

// Views are only looked at, never read through: one byte serves them all.
inline TensorView view(DType dtype, std::initializer_list<std::int64_t> shape) {
  static std::byte anything{};
  return {&anything, dtype, shape};
}

// One change to arguments that are right, and the message it must give ("" for none).
template <class Args>
struct Case {
  std::function<void(Args&)> change;
  std::string message;
};

template <class Args>
void expect_messages(const Args& right, const std::vector<Case<Args>>& cases) {
  EXPECT_EQ(validate(right).message(), "");
  for (const Case<Args>& one : cases) {
    Args args = right;
    one.change(args);
    const Status status = validate(args);
    EXPECT_EQ(status.message(), one.message);
    EXPECT_EQ(status.code(), one.message.empty() ? Code::kOk : Code::kInvalidArgument);
  }
}

inline constexpr DType kF32 = DType::kF32;
inline constexpr DType kBF16 = DType::kBF16;
inline constexpr DType kF16 = DType::kF16;
inline constexpr DType kF8 = DType::kF8E4M3;
inline constexpr DType kI32 = DType::kI32;

}  // namespace fathom::ops
