#include <string>

#include "ops/moe.h"
#include "tensor/match.h"

namespace fathom::ops {

namespace {

OneDType integers() { return {DType::kI32}; }
OneDType floats() { return {DType::kF32}; }

Status check_groups(const GateArgs& args, std::int64_t experts, std::int64_t k) {
  if (args.groups < 1 || experts % args.groups != 0 || experts / args.groups < 2) {
    return invalid_argument("groups is " + std::to_string(args.groups) +
                            ", wanted a divisor of experts, " + std::to_string(experts) +
                            ", that leaves 2 or more in each group");
  }
  if (args.kept_groups < 1 || args.kept_groups > args.groups) {
    return invalid_argument("kept_groups is " + std::to_string(args.kept_groups) +
                            ", wanted 1 to groups, " + std::to_string(args.groups));
  }
  const std::int64_t choices = args.kept_groups * (experts / args.groups);
  if (k > choices) {
    return invalid_argument("experts: k is " + std::to_string(k) + ", wanted at most the " +
                            std::to_string(choices) + " experts of the kept groups");
  }
  return {};
}

}  // namespace

Status validate(const GateArgs& args) {
  OneDType numbers = floats();
  OneDType indices = integers();
  Dim tokens("tokens");
  Dim experts("experts");
  Dim k("k");
  FATHOM_RETURN_IF_ERROR(match(args.logits, "logits", {&tokens, &experts}, numbers));
  FATHOM_RETURN_IF_ERROR(match(args.bias, "bias", {&experts}, numbers));
  FATHOM_RETURN_IF_ERROR(match(args.positions, "positions", {&tokens}, indices));
  FATHOM_RETURN_IF_ERROR(match(args.experts, "experts", {&tokens, &k}, indices));
  FATHOM_RETURN_IF_ERROR(match(args.weights, "weights", {&tokens, &k}, numbers));
  FATHOM_RETURN_IF_ERROR(check_groups(args, experts.size(), k.size()));
  if (!args.replay.present()) return {};
  return match(args.replay, "replay", {&tokens, &k}, indices);
}

Status validate(const GroupByExpertArgs& args) {
  OneDType indices = integers();
  Dim tokens("tokens");
  Dim k("k");
  FATHOM_RETURN_IF_ERROR(match(args.experts, "experts", {&tokens, &k}, indices));
  Dim pairs("tokens * k", tokens.size() * k.size());
  Dim bounds("local experts + 1");
  FATHOM_RETURN_IF_ERROR(match(args.source, "source", {&pairs}, indices));
  FATHOM_RETURN_IF_ERROR(match(args.row_of, "row_of", {&tokens, &k}, indices));
  FATHOM_RETURN_IF_ERROR(match(args.offsets, "offsets", {&bounds}, indices));
  if (bounds.size() < 1) return invalid_argument("offsets: size is 0, wanted local experts + 1");
  if (args.first_expert < 0) {
    return invalid_argument("first_expert is " + std::to_string(args.first_expert) +
                            ", wanted 0 or more");
  }
  return {};
}

Status validate(const ExpandRowsArgs& args) {
  OneDType dtype{DType::kF32, DType::kBF16, DType::kF8E4M3};
  OneDType scales = floats();
  OneDType indices = integers();
  Dim tokens("tokens");
  Dim rows("rows");
  Dim hidden("hidden");
  Dim bounds("local experts + 1");
  FATHOM_RETURN_IF_ERROR(match(args.x, "x", {&tokens, &hidden}, dtype));
  FATHOM_RETURN_IF_ERROR(match(args.source, "source", {&rows}, indices));
  FATHOM_RETURN_IF_ERROR(match(args.offsets, "offsets", {&bounds}, indices));
  if (bounds.size() < 1) return invalid_argument("offsets: size is 0, wanted local experts + 1");
  FATHOM_RETURN_IF_ERROR(match(args.y, "y", {&rows, &hidden}, dtype));
  if (args.x.dtype == DType::kF8E4M3) {
    Dim groups("groups", ceil_div(hidden.size(), kScaleBlock));
    FATHOM_RETURN_IF_ERROR(match(args.x_scales, "x_scales", {&tokens, &groups}, scales));
    return match(args.y_scales, "y_scales", {&rows, &groups}, scales);
  }
  for (const auto& [name, view] :
       {std::pair("x_scales", &args.x_scales), std::pair("y_scales", &args.y_scales)}) {
    if (view->present()) {
      return invalid_argument(std::string(name) + " is " + view->describe() +
                              ", wanted none with " + std::string(dtype_name(args.x.dtype)) +
                              " values");
    }
  }
  return {};
}

Status validate(const CombineArgs& args) {
  OneDType dtype{DType::kF32, DType::kBF16};
  OneDType weights = floats();
  OneDType indices = integers();
  Dim rows("rows");
  Dim tokens("tokens");
  Dim hidden("hidden");
  Dim k("k");
  FATHOM_RETURN_IF_ERROR(match(args.rows, "rows", {&rows, &hidden}, dtype));
  FATHOM_RETURN_IF_ERROR(match(args.row_of, "row_of", {&tokens, &k}, indices));
  FATHOM_RETURN_IF_ERROR(match(args.weights, "weights", {&tokens, &k}, weights));
  FATHOM_RETURN_IF_ERROR(match(args.shared, "shared", {&tokens, &hidden}, dtype));
  return match(args.y, "y", {&tokens, &hidden}, dtype);
}

}  // namespace fathom::ops
