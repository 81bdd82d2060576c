// Matrix products on the GPU against the CPU, as in ops_test.cc.

#include <gtest/gtest.h>

#include "backend/cuda/twin_testing.h"

namespace fathom::cuda {
namespace {

using ops::LinearInput;

class CudaLinear : public TwinTest {};

constexpr DType kActivations[] = {DType::kF32, DType::kBF16};

struct LinearCase {
  DType x;
  DType w;
};
constexpr LinearCase kLinearCases[] = {
    {DType::kF32, DType::kF32},      {DType::kBF16, DType::kBF16},   {DType::kBF16, DType::kF32},
    {DType::kBF16, DType::kF16},     {DType::kBF16, DType::kF8E4M3}, {DType::kF32, DType::kF8E4M3},
    {DType::kF8E4M3, DType::kF8E4M3}};

TEST_F(CudaLinear, Linear) {
  const std::int64_t shapes[][3] = {{1, 1, 1},      {1, 128, 128},  {2, 130, 129}, {7, 9, 257},
                                    {8, 8, 16},     {9, 33, 127},   {17, 64, 640}, {0, 8, 16},
                                    {1, 512, 7168}, {33, 256, 2048}};
  for (const auto& [rows, out, in] : shapes) {
    for (const LinearCase& one : kLinearCases) {
      for (const DType y_type : kActivations) {
        Twin x = normal(one.x, {rows, in});
        Twin xs = scales({rows, ceil_div(in, kScaleBlock)});
        Twin w = normal(one.w, {out, in});
        Twin ws = scales({ceil_div(out, kScaleBlock), ceil_div(in, kScaleBlock)});
        Twin y = poisoned(y_type, {rows, out});
        on_both([&](const ops::OpSet& ops, Stream& s, auto view) {
          const bool quantized = one.x == DType::kF8E4M3;
          const bool scaled = one.w == DType::kF8E4M3;
          ops.linear(s, {LinearInput{view(x), quantized ? view(xs) : TensorView()},
                         WeightView{view(w), scaled ? view(ws) : TensorView()}, view(y)});
        });
        expect_equal(y, "linear");
      }
    }
  }
}

// Few rows have kernels of their own.
TEST_F(CudaLinear, LinearOfFewRows) {
  constexpr std::int64_t kOut = 33;
  constexpr std::int64_t kIn = 389;
  for (std::int64_t rows = 1; rows <= 9; ++rows) {
    for (const LinearCase& one : kLinearCases) {
      for (const DType y_type : kActivations) {
        Twin x = normal(one.x, {rows, kIn});
        Twin xs = scales({rows, ceil_div(kIn, kScaleBlock)});
        Twin w = normal(one.w, {kOut, kIn});
        Twin ws = scales({1, ceil_div(kIn, kScaleBlock)});
        Twin y = poisoned(y_type, {rows, kOut});
        on_both([&](const ops::OpSet& ops, Stream& s, auto view) {
          const bool quantized = one.x == DType::kF8E4M3;
          const bool scaled = one.w == DType::kF8E4M3;
          ops.linear(s, {LinearInput{view(x), quantized ? view(xs) : TensorView()},
                         WeightView{view(w), scaled ? view(ws) : TensorView()}, view(y)});
        });
        expect_equal(y, "linear");
      }
    }
  }
}

// Experts of 0 to 9 rows and one of more, with rows behind the last; by one block an expert and by
// some.
TEST_F(CudaLinear, GroupedLinearOfFewRows) {
  constexpr std::int64_t kOut = 33;
  constexpr std::int64_t kIn = 389;
  constexpr std::int64_t kExperts = 11;
  std::vector<std::int32_t> bounds{0};
  for (const std::int32_t rows : {3, 1, 0, 2, 9, 8, 5, 17, 4, 6, 7}) {
    bounds.push_back(bounds.back() + rows);
  }
  for (const std::int64_t rows : {63, 80}) {
    for (const LinearCase& one : kLinearCases) {
      Twin x = normal(one.x, {rows, kIn});
      Twin xs = scales({rows, ceil_div(kIn, kScaleBlock)});
      Twin matrices = normal(one.w, {kExperts * kOut, kIn});
      Twin ws = scales({kExperts, ceil_div(kIn, kScaleBlock)});
      Twin offsets = integers({kExperts + 1}, bounds);
      Twin y = poisoned(DType::kBF16, {rows, kOut});
      on_both([&](const ops::OpSet& ops, Stream& s, auto view) {
        const bool scaled = one.w == DType::kF8E4M3;
        std::vector<WeightView> w;
        for (std::int64_t e = 0; e < kExperts; ++e) {
          w.push_back(
              {view(matrices).rows(e * kOut, kOut), scaled ? view(ws).rows(e, 1) : TensorView()});
        }
        const bool quantized = one.x == DType::kF8E4M3;
        ops.grouped_linear(s, {LinearInput{view(x), quantized ? view(xs) : TensorView()}, w,
                               view(offsets), view(y)});
      });
      expect_equal(y, "grouped_linear");
    }
  }
}

// More rows than the second dimension of a grid has blocks for.
TEST_F(CudaLinear, MoreRowsThanAGridIsHigh) {
  constexpr std::int64_t kRows = 8 * 65536 + 1;
  Twin x = normal(DType::kBF16, {kRows, 2, 4});
  Twin w = normal(DType::kBF16, {2, 3, 4});
  Twin y = poisoned(DType::kBF16, {kRows, 3});
  Twin heads = poisoned(DType::kBF16, {kRows, 2, 3});
  on_both([&](const ops::OpSet& ops, Stream& s, auto view) {
    ops.linear(s, {LinearInput{view(x).reshape({kRows, 8}).columns(0, 4), {}},
                   WeightView{view(w).reshape({6, 4}).rows(0, 3), {}}, view(y)});
    ops.head_linear(s, {view(x), view(w), view(heads)});
  });
  expect_equal(y, "linear");
  expect_equal(heads, "head_linear");
}

TEST_F(CudaLinear, HeadLinear) {
  for (const std::int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 16}) {
    Twin x = normal(DType::kBF16, {rows, 4, 128});
    Twin w = normal(DType::kBF16, {4, 65, 128});
    Twin y = poisoned(DType::kBF16, {rows, 4, 65});
    on_both([&](const ops::OpSet& ops, Stream& s, auto view) {
      ops.head_linear(s, {view(x), view(w), view(y)});
    });
    expect_equal(y, "head_linear");
  }
}

}  // namespace
}  // namespace fathom::cuda
