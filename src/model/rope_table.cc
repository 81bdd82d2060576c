#include "model/rope_table.h"

#include <algorithm>
#include <cmath>

#include "base/math.h"

namespace fathom::model {

namespace {

constexpr double kPi = 3.14159265358979323846;

// The pair index whose wavelength makes `rotations` turns over the original context.
double correction_dim(const config::ModelConfig& config, double rotations) {
  const double dim = config.qk_rope_head_dim;
  const double context = config.yarn->original_max_position_embeddings;
  return dim * log_f64(context / (rotations * 2 * kPi)) / (2 * log_f64(config.rope_theta));
}

}  // namespace

std::vector<float> rope_frequencies(const config::ModelConfig& config) {
  const std::int32_t dim = config.qk_rope_head_dim;
  std::vector<float> frequencies;
  for (std::int32_t i = 0; i < dim / 2; ++i) {
    const double exponent = 2.0 * i / dim;
    frequencies.push_back(1.0F / static_cast<float>(pow_f64(config.rope_theta, exponent)));
  }
  if (!config.yarn.has_value()) return frequencies;

  const double low = std::max(std::floor(correction_dim(config, config.yarn->beta_fast)), 0.0);
  const double high =
      std::min(std::ceil(correction_dim(config, config.yarn->beta_slow)), dim - 1.0);
  const double width = std::max(high - low, 0.001);
  for (std::int32_t i = 0; i < dim / 2; ++i) {
    float& frequency = frequencies[static_cast<std::size_t>(i)];
    const auto ramp = static_cast<float>(std::clamp((i - low) / width, 0.0, 1.0));
    const float interpolated = frequency / static_cast<float>(config.yarn->factor);
    frequency = interpolated * ramp + frequency * (1.0F - ramp);
  }
  return frequencies;
}

RopeTable make_rope_table(const config::ModelConfig& config, std::int32_t positions) {
  const std::vector<float> frequencies = rope_frequencies(config);
  RopeTable table;
  table.positions = positions;
  table.pairs = static_cast<std::int32_t>(frequencies.size());
  const std::size_t size = frequencies.size() * static_cast<std::size_t>(positions);
  table.cos.reserve(size);
  table.sin.reserve(size);
  const float amplitude = config.rope_amplitude();
  for (std::int32_t position = 0; position < positions; ++position) {
    for (const float frequency : frequencies) {
      // The product is rounded to float32 first: at position 10^5 that is visible, and the
      // reference does it.
      const float angle = static_cast<float>(position) * frequency;
      const SinCos both = sin_cos_f64(angle);
      table.cos.push_back(static_cast<float>(both.cos) * amplitude);
      table.sin.push_back(static_cast<float>(both.sin) * amplitude);
    }
  }
  return table;
}

}  // namespace fathom::model
