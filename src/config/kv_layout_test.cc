#include "config/kv_layout.h"

#include <gtest/gtest.h>

namespace fathom::config {
namespace {

ModelConfig dimensions(std::int32_t latent, std::int32_t rope, std::int32_t index) {
  ModelConfig model;
  model.kv_lora_rank = latent;
  model.qk_rope_head_dim = rope;
  model.index_head_dim = index;
  return model;
}

KvLayout layout(const ModelConfig& model, Arithmetic arithmetic, KvCacheDType dtype) {
  return make_kv_layout(model, arithmetic, dtype).value();
}

TEST(KvLayout, HasTheRecordSizesOfTheRealModel) {
  const ModelConfig model = dimensions(512, 64, 128);

  const KvLayout bf16 = layout(model, Arithmetic::kDeployed, KvCacheDType::kAuto);
  const KvLayout fp8 = layout(model, Arithmetic::kDeployed, KvCacheDType::kF8E4M3);
  const KvLayout exact = layout(model, Arithmetic::kExact, KvCacheDType::kAuto);

  EXPECT_EQ(bf16.latent_record_bytes(), 1152);
  EXPECT_EQ(fp8.latent_record_bytes(), 656);
  EXPECT_EQ(exact.latent_record_bytes(), 4 * (512 + 64));
  EXPECT_EQ(bf16.index_record_bytes(), 132);
  EXPECT_EQ(fp8.index_record_bytes(), 132);
  EXPECT_EQ(exact.index_record_bytes(), 512);
  EXPECT_EQ(fp8.latent_page_bytes(), 41984);
  EXPECT_EQ(fp8.index_page_bytes(), 8448);
}

TEST(KvLayout, PutsPartsWhereTheFormatSays) {
  const KvLayout fp8 =
      layout(dimensions(512, 64, 128), Arithmetic::kDeployed, KvCacheDType::kF8E4M3);

  EXPECT_EQ(fp8.latent_scales_offset(), 512);
  EXPECT_EQ(fp8.latent_rope_offset(), 528);
  EXPECT_EQ(fp8.index_value_offset(3), 3 * 128);
  EXPECT_EQ(fp8.index_scale_offset(0), 8192);
  EXPECT_EQ(fp8.index_scale_offset(63), 8192 + 63 * 4);
}

TEST(KvLayout, FollowsOddDimensions) {
  const KvLayout fp8 = layout(dimensions(64, 16, 32), Arithmetic::kDeployed, KvCacheDType::kF8E4M3);
  const KvLayout ragged =
      layout(dimensions(200, 16, 32), Arithmetic::kDeployed, KvCacheDType::kF8E4M3);

  EXPECT_EQ(fp8.latent_record_bytes(), 64 + 4 + 32);
  EXPECT_EQ(fp8.index_record_bytes(), 36);
  EXPECT_EQ(ragged.latent_record_bytes(), 200 + 8 + 32);
}

TEST(KvLayout, RefusesACacheTypeBesideExact) {
  const auto refused =
      make_kv_layout(dimensions(512, 64, 128), Arithmetic::kExact, KvCacheDType::kF8E4M3);

  EXPECT_EQ(refused.status().code(), Code::kInvalidArgument);
  EXPECT_EQ(parse_kv_cache_dtype("int8").status().message(),
            "--kv-cache-dtype is 'int8', expected auto, bf16, bfloat16 or fp8_e4m3");
  EXPECT_EQ(parse_arithmetic("fast").status().message(),
            "--arithmetic is 'fast', expected exact or deployed");
}

}  // namespace
}  // namespace fathom::config
