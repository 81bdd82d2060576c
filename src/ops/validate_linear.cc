#include <string>
#include <string_view>

#include "ops/linear.h"
#include "tensor/match.h"

namespace fathom::ops {

namespace {

OneDType activations() { return {DType::kF32, DType::kBF16}; }

std::string named(std::string_view operand, std::string_view part) {
  return std::string(operand) + std::string(part);
}

// Scales go with f8_e4m3 values and with nothing else.
Status match_presence(const TensorView& values,
                      const TensorView& scales,
                      std::string_view operand) {
  const bool wanted = values.dtype == DType::kF8E4M3;
  if (wanted && scales.rank == 0) {
    return invalid_argument(named(operand, ".scales") + " is absent, wanted with f8_e4m3 values");
  }
  if (!wanted && scales.present()) {
    return invalid_argument(named(operand, ".scales") + " is " + scales.describe() +
                            ", wanted none with " + std::string(dtype_name(values.dtype)) +
                            " values");
  }
  return {};
}

Status match_input(const LinearInput& x, Dim& rows, Dim& in) {
  OneDType dtype{DType::kF32, DType::kBF16, DType::kF8E4M3};
  FATHOM_RETURN_IF_ERROR(match(x.values, "x.values", {&rows, &in}, dtype));
  FATHOM_RETURN_IF_ERROR(match_presence(x.values, x.scales, "x"));
  if (x.values.dtype != DType::kF8E4M3) return {};
  OneDType scale_dtype{DType::kF32};
  Dim groups("groups", ceil_div(in.size(), kScaleBlock));
  return match(x.scales, "x.scales", {&rows, &groups}, scale_dtype);
}

Status match_weight(const WeightView& w,
                    std::string_view operand,
                    Dim& out,
                    Dim& in,
                    OneDType& dtype) {
  FATHOM_RETURN_IF_ERROR(match(w.values, named(operand, ".values"), {&out, &in}, dtype));
  FATHOM_RETURN_IF_ERROR(match_presence(w.values, w.scales, operand));
  if (w.values.dtype != DType::kF8E4M3) return {};
  OneDType scale_dtype{DType::kF32};
  Dim block_rows("block rows", ceil_div(out.size(), kScaleBlock));
  Dim block_columns("block columns", ceil_div(in.size(), kScaleBlock));
  return match(w.scales, named(operand, ".scales"), {&block_rows, &block_columns}, scale_dtype);
}

Status match_formats(const LinearInput& x, const WeightView& w, std::string_view operand) {
  if (x.values.dtype != DType::kF8E4M3 || w.values.dtype == DType::kF8E4M3) return {};
  return invalid_argument(named(operand, ".values") + " is " +
                          std::string(dtype_name(w.values.dtype)) +
                          ", wanted f8_e4m3 as x.values is f8_e4m3");
}

OneDType weights() { return {DType::kF32, DType::kBF16, DType::kF16, DType::kF8E4M3}; }

}  // namespace

Status validate(const QuantizeArgs& args) {
  OneDType dtype = activations();
  OneDType values{DType::kF8E4M3};
  OneDType scales{DType::kF32};
  Dim tokens("tokens");
  Dim width("width");
  FATHOM_RETURN_IF_ERROR(match(args.x, "x", {&tokens, &width}, dtype));
  FATHOM_RETURN_IF_ERROR(match(args.values, "values", {&tokens, &width}, values));
  Dim groups("groups", ceil_div(width.size(), kScaleBlock));
  return match(args.scales, "scales", {&tokens, &groups}, scales);
}

Status validate(const LinearArgs& args) {
  OneDType weight = weights();
  OneDType y = activations();
  Dim tokens("tokens");
  Dim in("in");
  Dim out("out");
  FATHOM_RETURN_IF_ERROR(match_input(args.x, tokens, in));
  FATHOM_RETURN_IF_ERROR(match_weight(args.w, "w", out, in, weight));
  FATHOM_RETURN_IF_ERROR(match_formats(args.x, args.w, "w"));
  return match(args.y, "y", {&tokens, &out}, y);
}

Status validate(const HeadLinearArgs& args) {
  OneDType x = activations();
  OneDType w = activations();
  OneDType y = activations();
  Dim tokens("tokens");
  Dim heads("heads");
  Dim in("in");
  Dim out("out");
  FATHOM_RETURN_IF_ERROR(match(args.x, "x", {&tokens, &heads, &in}, x));
  FATHOM_RETURN_IF_ERROR(match(args.w, "w", {&heads, &out, &in}, w));
  return match(args.y, "y", {&tokens, &heads, &out}, y);
}

Status validate(const GroupedLinearArgs& args) {
  OneDType weight = weights();
  OneDType offsets{DType::kI32};
  OneDType y = activations();
  Dim rows("rows");
  Dim in("in");
  Dim out("out");
  FATHOM_RETURN_IF_ERROR(match_input(args.x, rows, in));
  for (std::size_t e = 0; e < args.w.size(); ++e) {
    const std::string operand = "w[" + std::to_string(e) + "]";
    FATHOM_RETURN_IF_ERROR(match_weight(args.w[e], operand, out, in, weight));
    FATHOM_RETURN_IF_ERROR(match_formats(args.x, args.w[e], operand));
  }
  Dim bounds("experts + 1", static_cast<std::int64_t>(args.w.size()) + 1);
  FATHOM_RETURN_IF_ERROR(match(args.offsets, "offsets", {&bounds}, offsets));
  return match(args.y, "y", {&rows, &out}, y);
}

}  // namespace fathom::ops
