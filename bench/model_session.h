#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "backend/cpu/cpu_device.h"
#include "bench/component_ops.h"
#include "cache/kv_store.h"
#include "checkpoint/checkpoint.h"
#include "config/kv_layout.h"
#include "config/model_config.h"
#include "model/model.h"
#include "model/weights.h"
#include "ops/op_set.h"

namespace fathom::bench {

struct SessionOptions {
  int threads = 1;
  std::int32_t sequences = 8;
  std::int32_t logit_rows_each = 1;  // of a sequence's rows in a step
  std::int32_t max_positions = 2048 + 128;
  std::int32_t chunk = 256;
};

// Seconds that the parts of loading took.
struct LoadTimes {
  double open = 0;     // config.json, headers of the weight files
  double weights = 0;  // views and what is dequantised
  double model = 0;    // workspace, rotary table, caches
  double all() const { return open + weights + model; }
};

// A model with deployed arithmetic and bf16 cache, and sequences that own as many pages each.
// Stops the program when the model cannot be loaded.
class ModelSession {
 public:
  ModelSession(const std::filesystem::path& folder, const SessionOptions& options);

  // One step: `ids` of one sequence from `first` on, logits of the last row.
  void prefill(std::int32_t sequence,
               std::span<const std::int32_t> ids,
               std::int32_t first,
               model::Probe* probe = nullptr);
  // One step: a token for each of the first ids.size() sequences, all at `position`.
  void decode(std::span<const std::int32_t> ids,
              std::int32_t position,
              model::Probe* probe = nullptr);
  // One step that verifies a draft of each sequence: two tokens for each of the first
  // ids.size() / 2, at `position` and behind it, logits of all rows. Requires logit_rows_each >= 2.
  void verify(std::span<const std::int32_t> ids,
              std::int32_t position,
              model::Probe* probe = nullptr);
  // The draft layer over the rows of the latest step, as behind a step of the engine's: `ids` are
  // the tokens behind each row's, logits of each sequence's last row. Requires a draft layer.
  void draft(std::span<const std::int32_t> ids, model::Probe* probe = nullptr);
  // Copies the cache of sequence 0 into all others.
  void copy_first_sequence();

  // Times of the operations since its begin(), which it may be asked for before a step.
  ClockedOps& clock() { return *clock_; }

  const config::ModelConfig& config() const { return config_; }
  const config::KvLayout& layout() const { return store_->layout(); }
  const model::Weights& weights() const { return *weights_; }
  const checkpoint::Checkpoint& source() const { return *checkpoint_; }
  const LoadTimes& load_times() const { return times_; }
  std::int64_t workspace_bytes() const { return model_->workspace_bytes(); }

 private:
  // What a step's rows are beside their tokens; sequences one after the other.
  struct Rows {
    std::vector<std::int32_t> sequences;
    std::vector<std::int32_t> positions;
    std::vector<std::int32_t> logit_rows;
  };
  model::Batch batch_of(std::span<const std::int32_t> ids) const;
  // Of the rows in rows_.
  void forward(std::span<const std::int32_t> ids, model::Probe* probe);

  config::ModelConfig config_;
  SessionOptions options_;
  LoadTimes times_;
  std::shared_ptr<const checkpoint::Checkpoint> checkpoint_;
  std::unique_ptr<cpu::CpuDevice> device_;
  std::unique_ptr<ops::OpSet> ops_;
  std::optional<ClockedOps> clock_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<model::Weights> weights_;
  std::unique_ptr<model::Model> model_;
  std::optional<cache::KvStore> store_;
  std::vector<std::int32_t> page_table_;  // [sequences, pages each]
  Rows rows_;                             // of the latest step
  TensorView hidden_;                     // what it left
};

}  // namespace fathom::bench
