#pragma once

#include <span>

#include "base/status.h"
#include "tensor/tensor_view.h"

namespace fathom::ops {

// Rows know nothing of each other and none is skipped: a padding row (position -1) is computed like
// any other, from whatever it holds, and touches no other row. Of the experts' products padding has
// no rows (ops/moe.h).

// Quantises rows in groups of 128 consecutive elements (the last may be shorter):
//   a = max(max|x|, 1e-4), s = a / 448, with `ue8m0` rounded up to a power of two;
//   values = e4m3(x / s), nearest even.                          (docs/arithmetic.md 4)
// One function for the input of an FP8 product, the dispatch payload and the caches.
struct QuantizeArgs {
  TensorView x;       // [tokens, width] f32 | bf16
  TensorView values;  // [tokens, width] f8_e4m3
  TensorView scales;  // [tokens, ceil(width/128)] f32
  bool ue8m0 = true;
};
Status validate(const QuantizeArgs& args);

// The input of a product: plain numbers, or e4m3 values with one scale per 128 of them.
struct LinearInput {
  TensorView values;  // [rows, in] f32 | bf16 | f8_e4m3
  TensorView scales;  // [rows, ceil(in/128)] f32 with f8_e4m3, else absent
};

// y = x · Wᵀ. Every output element is a dot product of one shape (docs/arithmetic.md 1): element k
// goes to lane k mod 16, a lane adds with fused multiply-add in ascending k, a fixed tree adds the
// lanes. With FP8 weights a lane starts anew every 128 elements and its sum is added to the total
// by fma(sum, input scale · weight scale, total). So a row's result does not depend on the rows
// beside it.
struct LinearArgs {
  LinearInput x;  // [tokens, in]
  WeightView w;   // [out, in]; an f8_e4m3 input requires an f8_e4m3 weight
  TensorView y;   // [tokens, out] f32 | bf16
};
Status validate(const LinearArgs& args);

// y[:, h, :] = x[:, h, :] · W[h]ᵀ for each head.
struct HeadLinearArgs {
  TensorView x;  // [tokens, heads, in] f32 | bf16
  TensorView w;  // [heads, out, in] f32 | bf16
  TensorView y;  // [tokens, heads, out] f32 | bf16
};
Status validate(const HeadLinearArgs& args);

// Rows sorted by expert, each multiplied with its expert's matrix: rows
// [offsets[e], offsets[e+1]) use w[e]. `offsets` lives on the device, so nothing waits for it. The
// matrix of an expert without rows is not read.
struct GroupedLinearArgs {
  LinearInput x;                  // [rows, in]
  std::span<const WeightView> w;  // [experts] of [out, in], all of one dtype
  TensorView offsets;             // [experts + 1] i32; offsets[experts] <= rows
  TensorView y;                   // [rows, out] f32 | bf16; rows past the last offset stay
};
Status validate(const GroupedLinearArgs& args);

}  // namespace fathom::ops
