#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "app/device_memory.h"
#include "app/loaded_model.h"
#include "base/status.h"
#include "config/instance_plan.h"
#include "engine/engine.h"
#include "ops/backend.h"

namespace fathom::app {

// What the plan means for the engine.
engine::EngineOptions engine_options(const config::InstancePlan& plan);

// The steps of a start whose sizes depend on each other, each logged as SGLang logs it: weights,
// then the memory of steps and caches, then the engine and its graphs. On a device with memory of
// its own the plan is completed on the way (pages of the pool, requests that may run), and a table
// says last where the memory went.
//
// Threads: the one that loads.
class Loading {
 public:
  // `plan` must outlive it.
  explicit Loading(config::InstancePlan& plan) : plan_(plan) {}

  // In this order. A failure names the file, tensor, device or flag.
  Status load_weights();
  Status take_memory();
  Result<std::unique_ptr<engine::Engine>> create_engine(const engine::EngineOptions& options);

  // Requires load_weights(). take() gives it away, for good.
  LoadedModel& model() { return *model_; }
  std::unique_ptr<LoadedModel> take() { return std::move(model_); }

 private:
  std::int64_t free_now() const;
  std::int64_t taken_since(std::int64_t free_before) const { return free_before - free_now(); }
  // For a line of the log; empty where the memory is the host's.
  std::string available() const;
  Status size_pool();

  config::InstancePlan& plan_;
  std::unique_ptr<LoadedModel> model_;
  bool own_memory_ = false;  // of the device
  ops::DeviceMemory start_;
  DeviceMemoryPlan memory_;
};

}  // namespace fathom::app
