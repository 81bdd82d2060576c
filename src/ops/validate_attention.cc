#include <bit>
#include <string>

#include "ops/attention.h"
#include "tensor/match.h"

namespace fathom::ops {

namespace {

Status match_tokens(const PagedTokens& paged, Dim& tokens) {
  OneDType integers{DType::kI32};
  Dim sequences("sequences");
  Dim pages("pages per sequence");
  FATHOM_RETURN_IF_ERROR(match(paged.positions, "positions", {&tokens}, integers));
  FATHOM_RETURN_IF_ERROR(match(paged.sequences, "sequences", {&tokens}, integers));
  return match(paged.page_table, "page_table", {&sequences, &pages}, integers);
}

Status match_cache(const CacheView& cache, std::int64_t page_bytes) {
  OneDType bytes{DType::kU8};
  Dim pages("pages");
  Dim size("page bytes", page_bytes);
  return match(cache.bytes, "cache", {&pages, &size}, bytes);
}

Status refuse_cache_dtype(DType dtype, std::string_view wanted) {
  return invalid_argument("cache is " + std::string(dtype_name(dtype)) + ", wanted " +
                          std::string(wanted));
}

Status match_latent_cache(const CacheView& cache) {
  const DType dtype = cache.layout.latent_dtype;
  if (dtype != DType::kF32 && dtype != DType::kBF16 && dtype != DType::kF8E4M3) {
    return refuse_cache_dtype(dtype, "f32, bf16 or f8_e4m3");
  }
  return match_cache(cache, cache.layout.latent_page_bytes());
}

Status match_index_cache(const CacheView& cache) {
  const DType dtype = cache.layout.index_dtype;
  if (dtype != DType::kF32 && dtype != DType::kF8E4M3) {
    return refuse_cache_dtype(dtype, "f32 or f8_e4m3");
  }
  return match_cache(cache, cache.layout.index_page_bytes());
}

Status require_power_of_two(std::string_view operand, std::int64_t d) {
  if (d > 0 && std::has_single_bit(static_cast<std::uint64_t>(d))) return {};
  return invalid_argument(std::string(operand) + ": d is " + std::to_string(d) +
                          ", wanted a power of two");
}

}  // namespace

Status validate(const StoreLatentArgs& args) {
  const config::KvLayout& layout = args.cache.layout;
  OneDType dtype = layout.latent_dtype == DType::kF32 ? OneDType{DType::kF32}
                                                      : OneDType{DType::kF32, DType::kBF16};
  Dim tokens("tokens");
  Dim c("c", layout.latent_dim);
  Dim r("r", layout.rope_dim);
  FATHOM_RETURN_IF_ERROR(match(args.latent, "latent", {&tokens, &c}, dtype));
  FATHOM_RETURN_IF_ERROR(match(args.rope, "rope", {&tokens, &r}, dtype));
  FATHOM_RETURN_IF_ERROR(match_tokens(args.tokens, tokens));
  return match_latent_cache(args.cache);
}

Status validate(const StoreIndexKeyArgs& args) {
  const config::KvLayout& layout = args.cache.layout;
  OneDType dtype{DType::kF32, DType::kBF16};
  Dim tokens("tokens");
  Dim d("d", layout.index_dim);
  FATHOM_RETURN_IF_ERROR(match(args.key, "key", {&tokens, &d}, dtype));
  if (layout.index_dtype == DType::kF8E4M3) {
    FATHOM_RETURN_IF_ERROR(require_power_of_two("key", d.size()));
  }
  FATHOM_RETURN_IF_ERROR(match_tokens(args.tokens, tokens));
  return match_index_cache(args.cache);
}

Status validate(const QuantizeIndexQueryArgs& args) {
  OneDType query{DType::kBF16};
  OneDType values{DType::kF8E4M3};
  OneDType scales{DType::kF32};
  Dim tokens("tokens");
  Dim heads("index heads");
  Dim d("d");
  FATHOM_RETURN_IF_ERROR(match(args.query, "query", {&tokens, &heads, &d}, query));
  FATHOM_RETURN_IF_ERROR(require_power_of_two("query", d.size()));
  FATHOM_RETURN_IF_ERROR(match(args.values, "values", {&tokens, &heads, &d}, values));
  return match(args.scales, "scales", {&tokens, &heads}, scales);
}

Status validate(const IndexScoresArgs& args) {
  const config::KvLayout& layout = args.cache.layout;
  OneDType query{layout.index_dtype};
  OneDType floats{DType::kF32};
  Dim tokens("tokens");
  Dim heads("index heads");
  Dim d("d", layout.index_dim);
  Dim width("width");
  FATHOM_RETURN_IF_ERROR(match_index_cache(args.cache));
  FATHOM_RETURN_IF_ERROR(match(args.query, "query", {&tokens, &heads, &d}, query));
  if (layout.index_dtype == DType::kF8E4M3) {
    FATHOM_RETURN_IF_ERROR(match(args.query_scales, "query_scales", {&tokens, &heads}, floats));
  } else if (args.query_scales.present()) {
    return invalid_argument("query_scales is " + args.query_scales.describe() +
                            ", wanted none with a cache of f32");
  }
  FATHOM_RETURN_IF_ERROR(match(args.weights, "weights", {&tokens, &heads}, floats));
  FATHOM_RETURN_IF_ERROR(match_tokens(args.tokens, tokens));
  return match(args.scores, "scores", {&tokens, &width}, floats);
}

Status validate(const SelectArgs& args) {
  OneDType floats{DType::kF32};
  OneDType integers{DType::kI32};
  Dim tokens("tokens");
  Dim width("width");
  Dim k("k");
  FATHOM_RETURN_IF_ERROR(match(args.scores, "scores", {&tokens, &width}, floats));
  FATHOM_RETURN_IF_ERROR(match(args.positions, "positions", {&tokens}, integers));
  FATHOM_RETURN_IF_ERROR(match(args.selected, "selected", {&tokens, &k}, integers));
  if (k.size() < 1) return invalid_argument("selected: k is 0, wanted 1 or more");
  return match(args.count, "count", {&tokens}, integers);
}

Status validate(const SparseAttentionArgs& args) {
  const config::KvLayout& layout = args.cache.layout;
  OneDType dtype{DType::kF32, DType::kBF16};
  OneDType integers{DType::kI32};
  Dim tokens("tokens");
  Dim heads("heads");
  Dim key("c + r", std::int64_t{layout.latent_dim} + layout.rope_dim);
  Dim value("c", layout.latent_dim);
  Dim k("k");
  FATHOM_RETURN_IF_ERROR(match(args.query, "query", {&tokens, &heads, &key}, dtype));
  FATHOM_RETURN_IF_ERROR(match(args.selected, "selected", {&tokens, &k}, integers));
  if (k.size() < 1) return invalid_argument("selected: k is 0, wanted 1 or more");
  FATHOM_RETURN_IF_ERROR(match(args.count, "count", {&tokens}, integers));
  FATHOM_RETURN_IF_ERROR(match_tokens(args.tokens, tokens));
  FATHOM_RETURN_IF_ERROR(match_latent_cache(args.cache));
  return match(args.y, "y", {&tokens, &heads, &value}, dtype);
}

Status validate(const LoadLatentArgs& args) {
  const config::KvLayout& layout = args.cache.layout;
  OneDType dtype = layout.latent_dtype == DType::kF32 ? OneDType{DType::kF32}
                                                      : OneDType{DType::kF32, DType::kBF16};
  OneDType integers{DType::kI32};
  Dim sequences("sequences");
  Dim pages("pages per sequence");
  Dim positions("positions");
  Dim width("c + r", std::int64_t{layout.latent_dim} + layout.rope_dim);
  FATHOM_RETURN_IF_ERROR(match(args.page_table, "page_table", {&sequences, &pages}, integers));
  FATHOM_RETURN_IF_ERROR(match_latent_cache(args.cache));
  FATHOM_RETURN_IF_ERROR(match(args.y, "y", {&positions, &width}, dtype));
  if (args.sequence < 0 || args.sequence >= sequences.size()) {
    return invalid_argument("sequence is " + std::to_string(args.sequence) +
                            ", wanted a row of page_table, which has " +
                            std::to_string(sequences.size()));
  }
  const std::int64_t room = pages.size() * config::kPageTokens;
  if (positions.size() <= room) return {};
  return invalid_argument("y: positions is " + std::to_string(positions.size()) +
                          ", wanted at most " + std::to_string(room) +
                          ", what the pages of a sequence hold");
}

Status validate(const ExpandedAttentionArgs& args) {
  OneDType dtype{DType::kF32, DType::kBF16};
  OneDType integers{DType::kI32};
  Dim tokens("tokens");
  Dim heads("heads");
  Dim positions("positions");
  Dim n("n");
  Dim r("r");
  Dim v("v");
  Dim k("k");
  FATHOM_RETURN_IF_ERROR(match(args.key, "key", {&positions, &heads, &n}, dtype));
  FATHOM_RETURN_IF_ERROR(match(args.key_rope, "key_rope", {&positions, &r}, dtype));
  FATHOM_RETURN_IF_ERROR(match(args.value, "value", {&positions, &heads, &v}, dtype));
  Dim width("n + r", n.size() + r.size());
  FATHOM_RETURN_IF_ERROR(match(args.query, "query", {&tokens, &heads, &width}, dtype));
  FATHOM_RETURN_IF_ERROR(match(args.selected, "selected", {&tokens, &k}, integers));
  if (k.size() < 1) return invalid_argument("selected: k is 0, wanted 1 or more");
  FATHOM_RETURN_IF_ERROR(match(args.count, "count", {&tokens}, integers));
  return match(args.y, "y", {&tokens, &heads, &v}, dtype);
}

}  // namespace fathom::ops
