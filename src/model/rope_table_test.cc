#include "model/rope_table.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

namespace fathom::model {
namespace {

// The published model's rotation.
config::ModelConfig published() {
  config::ModelConfig config;
  config.qk_nope_head_dim = 128;
  config.qk_rope_head_dim = 64;
  config.rope_theta = 10000;
  config.yarn = config::YarnConfig{.factor = 40,
                                   .original_max_position_embeddings = 4096,
                                   .beta_fast = 32,
                                   .beta_slow = 1,
                                   .mscale = 1,
                                   .mscale_all_dim = 1};
  return config;
}

// `half_digit` is half a unit of the last digit given; a few float32 roundings come on top.
void expect_frequency(float frequency, double want, double half_digit) {
  EXPECT_NEAR(double{frequency}, want, half_digit + want * 0x1p-22);
}

TEST(RopeFrequencies, EqualThePublishedModels) {
  const std::vector<float> f = rope_frequencies(published());

  ASSERT_EQ(f.size(), 32U);
  expect_frequency(f[9], 0.0749894209, 5e-11);
  expect_frequency(f[10], 0.0562341325, 5e-11);
  expect_frequency(f[11], 0.0390069265, 5e-11);
  expect_frequency(f[16], 0.0055, 0);
  expect_frequency(f[22], 1.778279e-4, 5e-11);
  expect_frequency(f[23], 3.3338e-5, 5e-10);
  expect_frequency(f[31], 3.33380e-6, 5e-12);
}

// Fast pairs keep their frequency, slow ones have a fortieth of it.
TEST(RopeFrequencies, YarnScalesOnlyTheSlowPairs) {
  config::ModelConfig plain = published();
  plain.yarn.reset();

  const std::vector<float> scaled = rope_frequencies(published());
  const std::vector<float> unscaled = rope_frequencies(plain);

  for (std::size_t i = 0; i < scaled.size(); ++i) {
    if (i <= 10) {
      EXPECT_EQ(scaled[i], unscaled[i]) << i;
    } else if (i < 23) {
      EXPECT_LT(scaled[i], unscaled[i]) << i;
      EXPECT_GT(scaled[i], unscaled[i] / 40) << i;
    } else {
      EXPECT_EQ(scaled[i], unscaled[i] / 40) << i;
    }
  }
}

TEST(RopeFrequencies, WithoutYarnArePowersOfTheta) {
  config::ModelConfig config = published();
  config.yarn.reset();
  config.qk_rope_head_dim = 8;

  const std::vector<float> f = rope_frequencies(config);

  EXPECT_EQ(f, (std::vector<float>{1.0F, 0.1F, 0.01F, 0.001F}));
}

TEST(RopeTable, HoldsTheSineAndCosineOfTheFloat32Angle) {
  constexpr std::int32_t kLast = 163839;  // far beyond the original context
  const std::vector<float> f = rope_frequencies(published());

  const RopeTable table = make_rope_table(published(), kLast + 1);

  ASSERT_EQ(table.pairs, 32);
  ASSERT_EQ(table.positions, kLast + 1);
  for (const std::int32_t position : {0, 1, 4095, 4096, 100000, kLast}) {
    for (std::int32_t i = 0; i < table.pairs; ++i) {
      const auto at = static_cast<std::size_t>(position) * 32 + static_cast<std::size_t>(i);
      const float angle = static_cast<float>(position) * f[static_cast<std::size_t>(i)];
      // Half a unit in the last place of a number below 1, and the C library's own error.
      EXPECT_NEAR(double{table.cos[at]}, std::cos(double{angle}), 0x1.01p-25) << position;
      EXPECT_NEAR(double{table.sin[at]}, std::sin(double{angle}), 0x1.01p-25) << position;
    }
  }
}

// The rounding of the angle itself is part of the definition: in more precision the table would
// differ by hundreds of units in the last place.
TEST(RopeTable, RoundsTheAngleOfALargePosition) {
  constexpr std::int32_t kPosition = 163839;
  const std::vector<float> f = rope_frequencies(published());
  double largest = 0;

  const RopeTable table = make_rope_table(published(), kPosition + 1);

  for (std::size_t i = 0; i < 32; ++i) {
    const double precise = kPosition * double{f[i]};
    const std::size_t at = static_cast<std::size_t>(kPosition) * 32 + i;
    largest = std::max(largest, std::fabs(double{table.sin[at]} - std::sin(precise)));
  }
  EXPECT_GT(largest, 1e-4);
  EXPECT_LT(largest, 0x1p-7);  // half a unit of an angle near 2^17, and some
}

TEST(RopeTable, AmplitudeFollowsFromTheTwoMscales) {
  config::ModelConfig config = published();
  config.yarn->mscale = 2;
  config.yarn->mscale_all_dim = 1;
  const double amplitude = (0.2 * std::log(40.0) + 1) / (0.1 * std::log(40.0) + 1);

  const RopeTable table = make_rope_table(config, 1);

  EXPECT_NEAR(double{table.cos[0]}, amplitude, 1e-7);
  EXPECT_EQ(table.sin[0], 0.0F);
}

TEST(SoftmaxScale, EqualsThePublishedModels) {
  config::ModelConfig plain = published();
  plain.yarn.reset();

  EXPECT_NEAR(double{published().softmax_scale()}, 0.1352337789, 5e-9);
  EXPECT_NEAR(double{plain.softmax_scale()}, 1 / std::sqrt(192.0), 5e-9);
}

}  // namespace
}  // namespace fathom::model
