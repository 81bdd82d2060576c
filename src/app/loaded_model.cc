#include "app/loaded_model.h"

#include <utility>

#include "model/tensor_table.h"

namespace fathom::app {

Result<std::unique_ptr<LoadedModel>> LoadedModel::load(const std::filesystem::path& folder,
                                                       std::unique_ptr<ops::Backend> backend,
                                                       config::Arithmetic arithmetic) {
  auto loaded = std::unique_ptr<LoadedModel>(new LoadedModel());
  loaded->backend_ = std::move(backend);
  loaded->arithmetic_ = arithmetic;
  Result<config::ModelConfig> config = config::load_model_config(folder);
  FATHOM_RETURN_IF_ERROR(config.status());
  loaded->config_ = std::move(config).value();
  auto checkpoint = checkpoint::Checkpoint::open(folder, model::expected_tensors(loaded->config_));
  FATHOM_RETURN_IF_ERROR(checkpoint.status());
  loaded->checkpoint_ = std::move(checkpoint).value();
  auto weights = model::Weights::load(loaded->config_, loaded->checkpoint_, arithmetic,
                                      loaded->backend_->device());
  FATHOM_RETURN_IF_ERROR(weights.status().in(folder.string()));
  loaded->weights_ = std::move(weights).value();
  return loaded;
}

Status LoadedModel::create_model(const model::ModelOptions& options) {
  FATHOM_CHECK(options.arithmetic == arithmetic_);
  auto model = model::Model::create(config_, *weights_, ops(), device(), options);
  FATHOM_RETURN_IF_ERROR(model.status());
  model_ = std::move(model).value();
  return {};
}

Status LoadedModel::create_caches(config::KvCacheDType dtype,
                                  std::int32_t layers,
                                  std::int32_t pages) {
  const Result<config::KvLayout> layout = config::make_kv_layout(config_, arithmetic_, dtype);
  FATHOM_RETURN_IF_ERROR(layout.status());
  auto store = cache::KvStore::create(device(), *layout, layers, pages);
  FATHOM_RETURN_IF_ERROR(store.status());
  store_ = std::make_unique<cache::KvStore>(std::move(store).value());
  return {};
}

}  // namespace fathom::app
