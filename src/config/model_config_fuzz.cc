#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "config/kv_layout.h"
#include "config/model_config.h"

// The text of config.json. What is accepted must have sizes that fit together and finite numbers.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  const auto model = fathom::config::parse_model_config(json);
  if (!model.ok()) return 0;
  FATHOM_CHECK(model->n_routed_experts % model->n_group == 0);
  FATHOM_CHECK(model->qk_rope_head_dim <= model->index_head_dim);
  FATHOM_CHECK(std::isfinite(model->softmax_scale()) && model->softmax_scale() > 0);
  FATHOM_CHECK(std::isfinite(model->rope_amplitude()));
  for (std::int32_t layer = 0; layer < model->layers_with_cache(); ++layer) {
    static_cast<void>(model->is_moe_layer(layer));
  }
  for (const std::int32_t id : model->eos_token_ids) FATHOM_CHECK(id < model->vocab_size);
  const auto layout = fathom::config::make_kv_layout(*model, fathom::config::Arithmetic::kDeployed,
                                                     fathom::config::KvCacheDType::kF8E4M3);
  FATHOM_CHECK(layout.ok() && layout->latent_page_bytes() > 0);
  return 0;
}
