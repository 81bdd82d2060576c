#include "app/loaded_model.h"

#include <utility>

#include "backend/cpu/cpu_device.h"
#include "backend/cpu/cpu_ops.h"
#include "model/tensor_table.h"

namespace fathom::app {

Result<std::unique_ptr<LoadedModel>> LoadedModel::load(const std::filesystem::path& folder,
                                                       const model::ModelOptions& options,
                                                       config::KvCacheDType kv_cache_dtype,
                                                       std::int32_t pages,
                                                       int threads) {
  FATHOM_RETURN_IF_ERROR(cpu::CpuDevice::supported());
  auto loaded = std::unique_ptr<LoadedModel>(new LoadedModel());
  Result<config::ModelConfig> config = config::load_model_config(folder);
  FATHOM_RETURN_IF_ERROR(config.status());
  loaded->config_ = std::move(config).value();
  const Result<config::KvLayout> layout =
      config::make_kv_layout(loaded->config_, options.arithmetic, kv_cache_dtype);
  FATHOM_RETURN_IF_ERROR(layout.status());

  auto checkpoint = checkpoint::Checkpoint::open(folder, model::expected_tensors(loaded->config_));
  FATHOM_RETURN_IF_ERROR(checkpoint.status());
  loaded->checkpoint_ = std::move(checkpoint).value();
  loaded->device_ = std::make_unique<cpu::CpuDevice>(threads);
  loaded->ops_ = cpu::make_cpu_ops();
  auto weights = model::Weights::load(loaded->config_, loaded->checkpoint_, options.arithmetic,
                                      *loaded->device_);
  FATHOM_RETURN_IF_ERROR(weights.status().in(folder.string()));
  loaded->weights_ = std::move(weights).value();
  auto model = model::Model::create(loaded->config_, *loaded->weights_, *loaded->ops_,
                                    *loaded->device_, options);
  FATHOM_RETURN_IF_ERROR(model.status());
  loaded->model_ = std::move(model).value();
  auto store =
      cache::KvStore::create(*loaded->device_, *layout, loaded->config_.layers_with_cache(), pages);
  FATHOM_RETURN_IF_ERROR(store.status());
  loaded->store_ = std::make_unique<cache::KvStore>(std::move(store).value());
  return loaded;
}

}  // namespace fathom::app
