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
#include "ops/op_set.h"
#include "tensor/device.h"

namespace fathom::app {

// A checkpoint ready to run on this machine's processors: everything below the engine, in the order
// in which it depends on each other.
//
// Threads: owned by one at a time.
class LoadedModel {
 public:
  // Loads `folder` for `threads` threads. `options` are the model's (its arithmetic decides the
  // caches' formats together with `kv_cache_dtype`); the caches have `pages` pages. A failure names
  // the file, tensor or option.
  static Result<std::unique_ptr<LoadedModel>> load(const std::filesystem::path& folder,
                                                   const model::ModelOptions& options,
                                                   config::KvCacheDType kv_cache_dtype,
                                                   std::int32_t pages,
                                                   int threads);

  const config::ModelConfig& config() const { return config_; }
  Device& device() { return *device_; }
  const ops::OpSet& ops() const { return *ops_; }
  model::Model& model() { return *model_; }
  cache::KvStore& store() { return *store_; }
  // Of the checkpoint's tensors, as they are stored.
  std::int64_t weight_bytes() const { return checkpoint_->data_bytes(); }
  // Whether all mapped weights could be read so far.
  Status health() const { return checkpoint_->health(); }

 private:
  LoadedModel() = default;

  config::ModelConfig config_;
  std::shared_ptr<const checkpoint::Checkpoint> checkpoint_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<ops::OpSet> ops_;
  std::unique_ptr<model::Weights> weights_;
  std::unique_ptr<model::Model> model_;
  std::unique_ptr<cache::KvStore> store_;
};

}  // namespace fathom::app
