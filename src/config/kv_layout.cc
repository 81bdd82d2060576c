#include "config/kv_layout.h"

#include <string>

namespace fathom::config {

std::int64_t KvLayout::latent_record_bytes() const {
  return latent_rope_offset() +
         rope_dim * static_cast<std::int64_t>(latent_dtype == DType::kF32 ? 4 : 2);
}

std::int64_t KvLayout::index_record_bytes() const {
  return index_dtype == DType::kF32 ? index_dim * std::int64_t{4} : index_dim + std::int64_t{4};
}

std::int64_t KvLayout::latent_scales_offset() const { return latent_dim; }

std::int64_t KvLayout::latent_rope_offset() const {
  if (latent_dtype == DType::kF8E4M3) return latent_dim + 4 * ceil_div(latent_dim, kScaleBlock);
  return latent_dim * static_cast<std::int64_t>(size_of(latent_dtype));
}

std::int64_t KvLayout::index_value_offset(std::int32_t slot) const {
  return std::int64_t{slot} * index_dim * static_cast<std::int64_t>(size_of(index_dtype));
}

std::int64_t KvLayout::index_scale_offset(std::int32_t slot) const {
  return kPageTokens * static_cast<std::int64_t>(index_dim) + 4 * static_cast<std::int64_t>(slot);
}

Result<KvLayout> make_kv_layout(const ModelConfig& model,
                                Arithmetic arithmetic,
                                KvCacheDType dtype) {
  KvLayout layout;
  layout.latent_dim = model.kv_lora_rank;
  layout.rope_dim = model.qk_rope_head_dim;
  layout.index_dim = model.index_head_dim;
  if (arithmetic == Arithmetic::kExact) {
    if (dtype != KvCacheDType::kAuto) {
      return invalid_argument(
          "--kv-cache-dtype: the caches of --arithmetic exact are float32; leave it at auto or "
          "use --arithmetic deployed");
    }
    layout.latent_dtype = DType::kF32;
    layout.index_dtype = DType::kF32;
    return layout;
  }
  layout.latent_dtype = dtype == KvCacheDType::kF8E4M3 ? DType::kF8E4M3 : DType::kBF16;
  layout.index_dtype = DType::kF8E4M3;
  return layout;
}

Result<Arithmetic> parse_arithmetic(std::string_view text) {
  if (text == "exact") return Arithmetic::kExact;
  if (text == "deployed") return Arithmetic::kDeployed;
  return invalid_argument("--arithmetic is '" + std::string(text) +
                          "', expected exact or deployed");
}

std::string_view arithmetic_name(Arithmetic arithmetic) {
  return arithmetic == Arithmetic::kExact ? "exact" : "deployed";
}

Result<KvCacheDType> parse_kv_cache_dtype(std::string_view text) {
  if (text == "auto") return KvCacheDType::kAuto;
  if (text == "bf16" || text == "bfloat16") return KvCacheDType::kBF16;
  if (text == "fp8_e4m3") return KvCacheDType::kF8E4M3;
  return invalid_argument("--kv-cache-dtype is '" + std::string(text) +
                          "', expected auto, bf16, bfloat16 or fp8_e4m3");
}

}  // namespace fathom::config
