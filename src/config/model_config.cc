#include "config/model_config.h"

#include <cmath>

#include "base/check.h"
#include "base/math.h"

namespace fathom::config {
namespace {

// The attention temperature of YaRN: 0.1 · weight · ln(factor) + 1, and 1 when nothing is scaled.
double yarn_mscale(double factor, double weight) {
  return factor > 1 ? 0.1 * weight * log_f64(factor) + 1 : 1;
}

}  // namespace

bool ModelConfig::is_moe_layer(std::int32_t layer) const {
  FATHOM_CHECK(layer >= 0 && layer < layers_with_cache());
  if (layer == num_hidden_layers) return true;
  return layer >= first_k_dense_replace && layer % moe_layer_freq == 0;
}

float ModelConfig::softmax_scale() const {
  const double mscale = yarn ? yarn_mscale(yarn->factor, yarn->mscale_all_dim) : 1;
  return static_cast<float>(mscale * mscale / std::sqrt(static_cast<double>(qk_head_dim())));
}

float ModelConfig::rope_amplitude() const {
  if (!yarn) return 1;
  return static_cast<float>(yarn_mscale(yarn->factor, yarn->mscale) /
                            yarn_mscale(yarn->factor, yarn->mscale_all_dim));
}

}  // namespace fathom::config
