#include "make_checkpoint/random_checkpoint.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/thread_pool.h"
#include "checkpoint/checkpoint.h"
#include "make_checkpoint/config_json.h"
#include "make_checkpoint/presets.h"
#include "make_checkpoint/random_tensor.h"
#include "model/tensor_table.h"

namespace fathom::make_checkpoint {
namespace {

using checkpoint::Checkpoint;

class RandomCheckpoint : public testing::Test {
 protected:
  RandomCheckpoint()
      : folder_(testing::TempDir() + "fathom_random_checkpoint." + std::to_string(::getpid())) {}
  ~RandomCheckpoint() override { std::filesystem::remove_all(folder_); }

  std::unique_ptr<Checkpoint> write_and_open(const config::ModelConfig& model,
                                             const RandomCheckpointOptions& options) {
    std::filesystem::remove_all(folder_);
    const Status written = write_random_checkpoint(model, options, folder_);
    EXPECT_TRUE(written.ok()) << written.message();
    const config::ModelConfig read = config::load_model_config(folder_).value();
    auto opened = Checkpoint::open(folder_, model::expected_tensors(read));
    EXPECT_TRUE(opened.ok()) << opened.status().message();
    ThreadPool pool(2);
    const Status finite = (*opened)->verify_values(pool);
    EXPECT_TRUE(finite.ok()) << finite.message();
    return std::move(*opened);
  }

  std::string bytes_of(const char* name) const {
    std::ifstream stream(folder_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }

  std::filesystem::path folder_;
};

bool equal_bytes(const TensorView& a, const TensorView& b) {
  return a.describe() == b.describe() &&
         std::memcmp(a.data, b.data, static_cast<std::size_t>(a.elements()) * size_of(a.dtype)) ==
             0;
}

// `micro` with FP8 weights; its matrices have ragged blocks.
config::ModelConfig micro_fp8() {
  config::ModelConfig model = preset("micro").value();
  model.quantization = config::QuantizationConfig{true};
  return model;
}

TEST_F(RandomCheckpoint, IsAcceptedInBothFormats) {
  const auto bf16 = write_and_open(preset("micro").value(), {});
  EXPECT_EQ(bf16->weight("model.layers.0.mlp.up_proj.weight").values.describe(), "bf16[256, 128]");
  EXPECT_EQ(bf16->weight("model.norm.weight").values.describe(), "f32[128]");
  EXPECT_EQ(bf16->stored_tensors(), 227);

  const auto fp8 = write_and_open(micro_fp8(), {});
  EXPECT_EQ(fp8->weight("model.layers.0.self_attn.q_b_proj.weight").scales.describe(), "f32[2, 1]");
}

TEST_F(RandomCheckpoint, SplitsIntoTheFilesAskedFor) {
  for (const std::int32_t files : {2, 7, 227}) {
    RandomCheckpointOptions options;
    options.files = files;

    EXPECT_EQ(write_and_open(preset("micro").value(), options)->files(), files);
  }
  RandomCheckpointOptions too_many;
  too_many.files = 100'000;
  EXPECT_EQ(write_random_checkpoint(preset("micro").value(), too_many, folder_).message(),
            "files is 100000, expected 1 to 227");
}

TEST_F(RandomCheckpoint, HasTheSameBytesForTheSameSeed) {
  RandomCheckpointOptions options;
  write_and_open(micro_fp8(), options);
  const std::string first = bytes_of("model.safetensors");
  options.threads = 3;
  write_and_open(micro_fp8(), options);
  EXPECT_TRUE(bytes_of("model.safetensors") == first);

  options.seed = 2;
  write_and_open(micro_fp8(), options);
  EXPECT_FALSE(bytes_of("model.safetensors") == first);
}

TEST_F(RandomCheckpoint, CopiesEmbeddingAndHeadIntoTheDraftLayer) {
  const auto with = write_and_open(preset("micro").value(), {});
  EXPECT_TRUE(equal_bytes(with->weight("lm_head.weight").values,
                          with->weight("model.layers.3.shared_head.head.weight").values));
  EXPECT_TRUE(equal_bytes(with->weight("model.embed_tokens.weight").values,
                          with->weight("model.layers.3.embed_tokens.weight").values));

  RandomCheckpointOptions options;
  options.draft_copies = false;
  EXPECT_FALSE(
      write_and_open(preset("micro").value(), options)->has("model.layers.3.embed_tokens.weight"));
}

TEST_F(RandomCheckpoint, RoundsScalesToPowersOfTwoOrNot) {
  const auto powers = [](const Checkpoint& opened) {
    const TensorView scales = opened.weight("model.layers.0.self_attn.o_proj.weight").scales;
    int exponent = 0;
    return std::frexp(*scales.row<float>(0), &exponent) == 0.5F;
  };
  RandomCheckpointOptions odd;
  odd.power_of_two_scales = false;

  EXPECT_TRUE(powers(*write_and_open(micro_fp8(), {})));
  EXPECT_FALSE(powers(*write_and_open(micro_fp8(), odd)));
}

// An FP8 weight times its scale is the weight that a BF16 file of the same seed has, up to the two
// roundings: half a unit of 3 mantissa bits, or of the smallest code.
TEST_F(RandomCheckpoint, QuantisesTheSameWeights) {
  const std::string name = "model.layers.1.self_attn.kv_a_proj_with_mqa.weight";
  const auto plain = write_and_open(preset("micro").value(), {});
  const TensorView expected = plain->weight(name).values;
  for (const bool power_of_two : {true, false}) {
    RandomCheckpointOptions options;
    options.power_of_two_scales = power_of_two;
    const auto quantised = write_and_open(micro_fp8(), options);
    const WeightView weight = quantised->weight(name);
    float largest_code = 0;

    for (std::int64_t r = 0; r < 80; ++r) {
      for (std::int64_t c = 0; c < 128; ++c) {
        const float code = to_float(weight.values.row<Float8E4M3>(r)[c]);
        const float scale = *weight.scales.row<float>(0);
        const float wanted = to_float(expected.row<BFloat16>(r)[c]);
        EXPECT_NEAR(code * scale, wanted, std::max(std::abs(wanted) / 15, scale * 0x1p-9F))
            << r << ", " << c;
        largest_code = std::max(largest_code, std::abs(code));
      }
    }
    EXPECT_GT(largest_code, power_of_two ? 223.0F : 447.0F);
  }
}

TEST(RandomNumbersTest, HaveTheSpreadTheyPromise) {
  const RandomNumbers numbers(7, "x");
  const RandomNumbers others(8, "x");
  constexpr int kCount = 200'000;
  double sum = 0;
  double squares = 0;
  double uniform_sum = 0;
  int equal = 0;
  for (int i = 0; i < kCount; ++i) {
    const double bell = numbers.bell(i);
    sum += bell;
    squares += bell * bell;
    EXPECT_LT(std::abs(bell), 3.5);
    uniform_sum += numbers.uniform(i);
    if (numbers.bell(i) == others.bell(i)) ++equal;
  }
  // Five standard deviations of each mean.
  EXPECT_NEAR(sum / kCount, 0, 5 / std::sqrt(kCount));
  EXPECT_NEAR(squares / kCount, 1, 5 * 1.2 / std::sqrt(kCount));
  EXPECT_NEAR(uniform_sum / kCount, 0.5, 5 * 0.29 / std::sqrt(kCount));
  EXPECT_LT(equal, 20);
}

TEST(ConfigJson, IsReadBackAsItWas) {
  config::ModelConfig model = micro_fp8();
  model.rms_norm_eps = 1.0F / 3.0F;
  model.rope_theta = 1e6 / 3.0;
  model.yarn->mscale = 0.7;
  model.eos_token_ids = {5, 3};
  model.norm_topk_prob = false;
  model.bos_token_id = 4;

  const auto read = config::parse_model_config(config_json(model));

  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(config_json(*read), config_json(model));
  EXPECT_EQ(read->rms_norm_eps, model.rms_norm_eps);
  EXPECT_EQ(read->rope_theta, model.rope_theta);
  EXPECT_EQ(read->yarn->mscale, 0.7);
  EXPECT_EQ(read->eos_token_ids, model.eos_token_ids);
  EXPECT_FALSE(read->norm_topk_prob);
  EXPECT_TRUE(read->quantization->ue8m0_scales);
}

TEST(Preset, NamesWhatThereIs) {
  EXPECT_EQ(preset("huge").status().message(), "preset is 'huge', expected micro or mid");
}

}  // namespace
}  // namespace fathom::make_checkpoint
