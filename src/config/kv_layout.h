#pragma once

#include <cstdint>
#include <string_view>

#include "base/status.h"
#include "config/model_config.h"
#include "tensor/dtype.h"

namespace fathom::config {

// Which numbers a run computes with (docs/arithmetic.md).
enum class Arithmetic : std::uint8_t {
  kDeployed,  // the formats the model is served in: bf16 activations, FP8 where the weights are FP8
  kExact,     // float32 activations and caches, nothing quantised: the mode of the oracles
};

// What `--kv-cache-dtype` asks for; kAuto is kBF16 on the CPU and on Hopper.
enum class KvCacheDType : std::uint8_t { kAuto, kBF16, kF8E4M3 };

constexpr std::int32_t kPageTokens = 64;  // tokens of one page of every cache

// Bytes of the two caches of one attention layer, derived from the architecture. A page of either
// cache holds kPageTokens tokens; both caches share page numbers and grow in lockstep.
//
// Latent record, one per token, records one after the other (c = kv_lora_rank, r =
// qk_rope_head_dim):
//   bf16     c bf16 of the normed latent, r bf16 of the rotated key part          2(c + r)
//   f8_e4m3  c e4m3, ceil(c/128) float32 scales, r bf16                 c + 4⌈c/128⌉ + 2r
//   f32      c + r float32                                                        4(c + r)
// Indexer keys (d = index_head_dim): a page is all values, then all scales:
//   f8_e4m3  64·d e4m3, then 64 float32                                            d + 4
//   f32      64·d float32                                                             4d
struct KvLayout {
  DType latent_dtype = DType::kBF16;   // kF32, kBF16 or kF8E4M3
  DType index_dtype = DType::kF8E4M3;  // kF32 or kF8E4M3
  std::int32_t latent_dim = 0;         // c
  std::int32_t rope_dim = 0;           // r
  std::int32_t index_dim = 0;          // d

  std::int64_t latent_record_bytes() const;  // per token and layer
  std::int64_t index_record_bytes() const;   // per token and layer
  std::int64_t latent_page_bytes() const { return kPageTokens * latent_record_bytes(); }
  std::int64_t index_page_bytes() const { return kPageTokens * index_record_bytes(); }

  // Where things lie. Offsets in bytes; `slot` is a token's place in its page.
  std::int64_t latent_scales_offset() const;                 // inside a record; f8_e4m3 alone
  std::int64_t latent_rope_offset() const;                   // inside a record
  std::int64_t index_value_offset(std::int32_t slot) const;  // inside a page
  std::int64_t index_scale_offset(std::int32_t slot) const;  // inside a page; f8_e4m3 alone
};

// kInvalidArgument when `arithmetic` is exact and `dtype` is not kAuto: the exact caches are
// float32.
Result<KvLayout> make_kv_layout(const ModelConfig& model,
                                Arithmetic arithmetic,
                                KvCacheDType dtype);

// "exact" | "deployed"; kInvalidArgument names what was given and what may be.
Result<Arithmetic> parse_arithmetic(std::string_view text);
std::string_view arithmetic_name(Arithmetic arithmetic);

// "auto" | "bf16" | "bfloat16" | "fp8_e4m3".
Result<KvCacheDType> parse_kv_cache_dtype(std::string_view text);

}  // namespace fathom::config
