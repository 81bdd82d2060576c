#include "tensor/tensor_view.h"

#include <vector>

#include <gtest/gtest.h>

#include "tensor/match.h"

namespace fathom {
namespace {

TEST(TensorView, PartsPointIntoTheWhole) {
  std::vector<float> data(24);
  const TensorView whole(data.data(), DType::kF32, {4, 6});

  const TensorView part = whole.rows(1, 2).columns(2, 3);

  EXPECT_EQ(part.row<float>(1), data.data() + 14);
  EXPECT_EQ(part.elements(), 6);
  EXPECT_FALSE(part.dense());
  EXPECT_TRUE(whole.dense());
  EXPECT_EQ(whole.reshape({2, 12}).shape[1], 12);
  EXPECT_EQ(part.describe(), "f32[2, 3]");
}

TEST(Match, NamesTheOperandAndBothSizes) {
  std::vector<float> data(24);
  Dim tokens("tokens");
  Dim hidden("hidden");
  OneDType dtype{DType::kF32, DType::kBF16};

  EXPECT_TRUE(match({data.data(), DType::kF32, {2, 3}}, "x", {&tokens, &hidden}, dtype).ok());
  const Status size = match({data.data(), DType::kF32, {4}}, "w", {&hidden}, dtype);
  const Status type = match({data.data(), DType::kBF16, {3}}, "w", {&hidden}, dtype);
  const Status rank = match({data.data(), DType::kF32, {3, 1}}, "w", {&hidden}, dtype);
  const Status absent = match(TensorView(nullptr, DType::kF32, {3}), "w", {&hidden}, dtype);

  EXPECT_EQ(size.message(), "w: hidden is 4, was 3");
  EXPECT_EQ(type.message(), "w is bf16, wanted f32");
  EXPECT_EQ(rank.message(), "w is f32[3, 1], wanted 1 dimensions");
  EXPECT_EQ(absent.message(), "w is absent");
}

}  // namespace
}  // namespace fathom
