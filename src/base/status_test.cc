#include "base/status.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

Result<int> half_of(int value) {
  if (value % 2 != 0) return invalid_argument("value is " + std::to_string(value) + ", not even");
  return value / 2;
}

Status check_half(int value) {
  const Result<int> half = half_of(value);
  FATHOM_RETURN_IF_ERROR(half.status().in("check"));
  return {};
}

TEST(Status, AMessageReadsFromTheOutsideIn) {
  const Status status = check_half(3);

  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_EQ(status.message(), "check: value is 3, not even");
}

TEST(Status, SuccessStaysSuccess) {
  EXPECT_TRUE(check_half(4).ok());
  EXPECT_TRUE(Status().in("anywhere").ok());
}

TEST(Result, HoldsTheValueOrTheReason) {
  EXPECT_EQ(half_of(8).value(), 4);
  EXPECT_FALSE(half_of(7).ok());
  EXPECT_DEATH(static_cast<void>(half_of(7).value()), "value is 7, not even");
}

TEST(Status, EveryCodeHasAName) {
  for (int code = 0; code <= static_cast<int>(Code::kInternal); ++code) {
    EXPECT_NE(code_name(static_cast<Code>(code)), "unknown");
  }
}

}  // namespace
}  // namespace fathom
