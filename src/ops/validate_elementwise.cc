#include <string>

#include "ops/elementwise.h"
#include "tensor/match.h"

namespace fathom::ops {

namespace {

OneDType activations() { return {DType::kF32, DType::kBF16}; }
OneDType stored_weights() { return {DType::kF32, DType::kBF16, DType::kF16}; }
OneDType integers() { return {DType::kI32}; }
OneDType floats() { return {DType::kF32}; }

}  // namespace

Status validate(const EmbedArgs& args) {
  OneDType ids = integers();
  OneDType table = stored_weights();
  OneDType y = activations();
  Dim tokens("tokens");
  Dim vocab("vocab");
  Dim hidden("hidden");
  FATHOM_RETURN_IF_ERROR(match(args.ids, "ids", {&tokens}, ids));
  FATHOM_RETURN_IF_ERROR(match(args.table, "table", {&vocab, &hidden}, table));
  return match(args.y, "y", {&tokens, &hidden}, y);
}

Status validate(const GatherRowsArgs& args) {
  OneDType dtype = activations();
  OneDType numbers = integers();
  Dim tokens("tokens");
  Dim count("count");
  Dim width("width");
  FATHOM_RETURN_IF_ERROR(match(args.x, "x", {&tokens, &width}, dtype));
  FATHOM_RETURN_IF_ERROR(match(args.rows, "rows", {&count}, numbers));
  return match(args.y, "y", {&count, &width}, dtype);
}

Status validate(const RmsNormArgs& args) {
  OneDType dtype = activations();
  OneDType weight = stored_weights();
  Dim tokens("tokens");
  Dim hidden("hidden");
  FATHOM_RETURN_IF_ERROR(match(args.x, "x", {&tokens, &hidden}, dtype));
  FATHOM_RETURN_IF_ERROR(match(args.w, "w", {&hidden}, weight));
  return match(args.y, "y", {&tokens, &hidden}, dtype);
}

Status validate(const AddRmsNormArgs& args) {
  OneDType dtype = activations();
  OneDType weight = stored_weights();
  Dim tokens("tokens");
  Dim hidden("hidden");
  FATHOM_RETURN_IF_ERROR(match(args.x, "x", {&tokens, &hidden}, dtype));
  FATHOM_RETURN_IF_ERROR(match(args.residual, "residual", {&tokens, &hidden}, dtype));
  FATHOM_RETURN_IF_ERROR(match(args.w, "w", {&hidden}, weight));
  return match(args.y, "y", {&tokens, &hidden}, dtype);
}

Status validate(const LayerNormArgs& args) {
  OneDType dtype = activations();
  OneDType weight = stored_weights();
  OneDType bias = stored_weights();
  Dim tokens("tokens");
  Dim width("width");
  FATHOM_RETURN_IF_ERROR(match(args.x, "x", {&tokens, &width}, dtype));
  FATHOM_RETURN_IF_ERROR(match(args.w, "w", {&width}, weight));
  FATHOM_RETURN_IF_ERROR(match(args.b, "b", {&width}, bias));
  return match(args.y, "y", {&tokens, &width}, dtype);
}

Status validate(const FillIdsArgs& args) {
  OneDType numbers = integers();
  Dim rows("rows");
  Dim tokens("tokens");
  FATHOM_RETURN_IF_ERROR(match(args.ids, "ids", {&rows}, numbers));
  return match(args.tokens, "tokens", {&tokens}, numbers);
}

Status validate(const ScatterArgs& args) {
  OneDType numbers = integers();
  Dim count("count");
  Dim entries("entries");
  FATHOM_RETURN_IF_ERROR(match(args.index, "index", {&count}, numbers));
  FATHOM_RETURN_IF_ERROR(match(args.values, "values", {&count}, numbers));
  return match(args.table, "table", {&entries}, numbers);
}

Status validate(const SiluMulArgs& args) {
  OneDType dtype = activations();
  Dim tokens("tokens");
  Dim width("width");
  FATHOM_RETURN_IF_ERROR(match(args.gate, "gate", {&tokens, &width}, dtype));
  FATHOM_RETURN_IF_ERROR(match(args.up, "up", {&tokens, &width}, dtype));
  return match(args.y, "y", {&tokens, &width}, dtype);
}

Status validate(const RopeArgs& args) {
  OneDType dtype = activations();
  OneDType numbers = integers();
  OneDType table = floats();
  Dim tokens("tokens");
  Dim heads("heads");
  Dim dim("dim");
  FATHOM_RETURN_IF_ERROR(match(args.x, "x", {&tokens, &heads, &dim}, dtype));
  FATHOM_RETURN_IF_ERROR(match(args.y, "y", {&tokens, &heads, &dim}, dtype));
  if (dim.size() % 2 != 0) {
    return invalid_argument("x: dim is " + std::to_string(dim.size()) + ", wanted an even number");
  }
  FATHOM_RETURN_IF_ERROR(match(args.positions, "positions", {&tokens}, numbers));
  Dim table_positions("table positions");
  Dim half("dim / 2", dim.size() / 2);
  FATHOM_RETURN_IF_ERROR(match(args.cos, "cos", {&table_positions, &half}, table));
  return match(args.sin, "sin", {&table_positions, &half}, table);
}

Status validate(const ArgmaxArgs& args) {
  OneDType logits = floats();
  OneDType numbers = integers();
  Dim rows("rows");
  Dim vocab("vocab");
  FATHOM_RETURN_IF_ERROR(match(args.logits, "logits", {&rows, &vocab}, logits));
  if (vocab.size() < 1) return invalid_argument("logits: vocab is 0, wanted 1 or more");
  FATHOM_RETURN_IF_ERROR(match(args.token, "token", {&rows}, numbers));
  if (!args.log_sum.present()) return {};
  return match(args.log_sum, "log_sum", {&rows}, logits);
}

}  // namespace fathom::ops
