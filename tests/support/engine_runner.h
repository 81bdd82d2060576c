#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "backend/cpu/cpu_device.h"
#include "cache/kv_store.h"
#include "checkpoint/checkpoint.h"
#include "config/kv_layout.h"
#include "config/model_config.h"
#include "engine/engine.h"
#include "model/model.h"
#include "model/weights.h"
#include "wire/engine_link.h"

namespace fathom::test_support {

struct EngineRunnerOptions {
  config::Arithmetic arithmetic = config::Arithmetic::kDeployed;
  config::KvCacheDType kv_cache_dtype = config::KvCacheDType::kAuto;
  int threads = 1;
  std::int32_t pages = 64;
  std::size_t max_unfinished = 4096;
  engine::EngineOptions engine;
};

// An engine on its own thread, with the link a node process would have.
class EngineRunner {
 public:
  // On the CPU.
  EngineRunner(const std::filesystem::path& folder, const EngineRunnerOptions& options);
  // On a device of another kind.
  EngineRunner(const std::filesystem::path& folder,
               const EngineRunnerOptions& options,
               std::unique_ptr<Device> device,
               std::unique_ptr<ops::OpSet> ops);
  ~EngineRunner();
  EngineRunner(const EngineRunner&) = delete;
  EngineRunner& operator=(const EngineRunner&) = delete;

  // Sends a request under a new id, which it returns.
  wire::RequestId submit(wire::GenerateRequest request);
  Status try_submit(wire::GenerateRequest request);
  void abort(wire::RequestId id) { abort(wire::AbortRequest{id}); }
  void abort(const wire::AbortRequest& abort) { link_->client().abort(abort); }

  void flush_cache() { link_->client().flush_cache(); }

  // Waits until the request has given `tokens` tokens or has finished.
  void wait_for_tokens(wire::RequestId id, std::size_t tokens);
  // Waits until the request has finished; everything it gave.
  wire::TokenOutput wait(wire::RequestId id);
  // Waits until one of them has finished. Requires some.
  void wait_for_any(std::span<const wire::RequestId> ids);
  // An output that came for a request. No two steps are in one: they are taken as they come.
  struct Told {
    std::size_t tokens = 0;    // that it brought
    wire::DraftCounts drafts;  // so far
  };
  std::vector<Told> told(wire::RequestId id);
  int outputs(wire::RequestId id) { return static_cast<int>(told(id).size()); }
  // Closes the link and waits for the engine's thread.
  Status stop();

  // After stop(): where what `tokens` led to can be found (Engine::found_pages), and the bytes.
  std::vector<cache::PageId> found_pages(const std::vector<wire::TokenId>& tokens,
                                         const std::string& cache_namespace = "") const {
    return engine_->found_pages(cache_namespace, tokens);
  }
  bool lacks_draft_rows(cache::PageId page) const { return engine_->lacks_draft_rows(page); }
  const cache::KvStore& store() const { return *store_; }
  // A page's bytes in one layer, of latent records and of indexer keys, wherever the store lies.
  std::vector<std::byte> page_bytes(std::int32_t layer, cache::PageId page) const;

  const config::ModelConfig& config() const { return config_; }
  wire::EngineLoad load() const { return link_->client().load(); }

 private:
  // Takes the outputs that have come.
  void pump();
  // Whether the request has. Requires mutex_.
  bool finished(wire::RequestId id) { return results_[id].finish != wire::Finish::kNone; }
  // Waits until `done` holds, which is asked with mutex_; the lock.
  template <class Done>
  std::unique_lock<std::mutex> wait_until(Done done);

  config::ModelConfig config_;
  std::shared_ptr<const checkpoint::Checkpoint> checkpoint_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<ops::OpSet> ops_;
  std::unique_ptr<model::Weights> weights_;
  std::unique_ptr<model::Model> model_;
  std::unique_ptr<cache::KvStore> store_;
  std::unique_ptr<engine::Engine> engine_;

  std::mutex mutex_;
  std::condition_variable came_;
  std::map<wire::RequestId, wire::TokenOutput> results_;  // guarded by mutex_
  std::map<wire::RequestId, std::vector<Told>> told_;     // guarded by mutex_

  wire::RequestId next_id_ = 1;
  Status ended_;  // the engine's, after the thread has ended
  std::unique_ptr<wire::InprocLink> link_;
  std::thread thread_;
};

}  // namespace fathom::test_support
