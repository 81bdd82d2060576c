#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "base/status.h"
#include "cache/kv_store.h"
#include "checkpoint/checkpoint.h"
#include "config/kv_layout.h"
#include "config/model_config.h"
#include "model/model.h"
#include "model/weights.h"
#include "ops/backend.h"

namespace fathom::app {

// A checkpoint ready to run on one device: everything below the engine, in the order in which it
// depends on each other.
//
// Threads: owned by one at a time.
class LoadedModel {
 public:
  // Loads the weights of `folder`. A failure names the file or tensor.
  static Result<std::unique_ptr<LoadedModel>> load(const std::filesystem::path& folder,
                                                   std::unique_ptr<ops::Backend> backend,
                                                   config::Arithmetic arithmetic);

  // Takes the memory of the steps: `options` are the model's, with the arithmetic of load().
  Status create_model(const model::ModelOptions& options);
  // Takes the memory of the caches, `pages` pages whose format the arithmetic and `dtype` decide.
  // `layers`: with the draft layer, or without.
  Status create_caches(config::KvCacheDType dtype, std::int32_t layers, std::int32_t pages);

  const config::ModelConfig& config() const { return config_; }
  const ops::Backend& backend() const { return *backend_; }
  Device& device() { return backend_->device(); }
  const ops::OpSet& ops() const { return backend_->ops(); }
  // Each requires its create_….
  model::Model& model() { return *model_; }
  cache::KvStore& store() { return *store_; }
  // Of the checkpoint's tensors, as they are stored.
  std::int64_t weight_bytes() const { return checkpoint_->data_bytes(); }
  // Whether all mapped weights could be read so far.
  Status health() const { return checkpoint_->health(); }

 private:
  LoadedModel() = default;

  std::unique_ptr<ops::Backend> backend_;
  config::ModelConfig config_;
  config::Arithmetic arithmetic_ = config::Arithmetic::kDeployed;
  std::shared_ptr<const checkpoint::Checkpoint> checkpoint_;
  std::unique_ptr<model::Weights> weights_;
  std::unique_ptr<model::Model> model_;
  std::unique_ptr<cache::KvStore> store_;
};

}  // namespace fathom::app
