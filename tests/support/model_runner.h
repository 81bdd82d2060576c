#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "backend/cpu/cpu_device.h"
#include "cache/kv_store.h"
#include "cache/page_pool.h"
#include "checkpoint/checkpoint.h"
#include "config/kv_layout.h"
#include "config/model_config.h"
#include "model/model.h"
#include "model/weights.h"

namespace fathom::test_support {

struct RunnerOptions {
  config::Arithmetic arithmetic = config::Arithmetic::kExact;
  config::KvCacheDType kv_cache_dtype = config::KvCacheDType::kAuto;
  int threads = 1;
  std::int32_t max_tokens = 256;
  std::int32_t max_positions = 2048;
  std::int32_t pages = 128;
  model::Mutation mutation = model::Mutation::kNone;
  config::AttentionForm attention_form = config::AttentionForm::kAbsorbed;
  // A device of another kind than the CPU and its operations; both or neither.
  std::function<std::unique_ptr<Device>()> make_device;
  std::function<std::unique_ptr<ops::OpSet>()> make_ops;
};

// A model with caches, driven a step at a time as an engine would. Probes are shown host memory,
// wherever the step runs.
class ModelRunner {
 public:
  ModelRunner(const std::filesystem::path& folder, const RunnerOptions& options);
  // The same on a device of another kind.
  ModelRunner(const std::filesystem::path& folder,
              const RunnerOptions& options,
              std::unique_ptr<Device> device,
              std::unique_ptr<ops::OpSet> ops);

  // Tokens of one sequence in one step. From position -1 on they are padding, of any sequence; the
  // absorbed form alone has that.
  struct Piece {
    int sequence = 0;
    std::int32_t first_position = 0;
    std::vector<std::int32_t> ids;
  };
  struct Step {
    std::vector<std::vector<float>> logits;  // of every row of the pieces, in order
    std::vector<float> hidden;               // [rows, hidden]
  };

  // A new sequence with pages for max_positions tokens.
  int add_sequence();
  // A sequence that shares `other`'s pages of its first `tokens` tokens, a multiple of 64.
  int fork_sequence(int other, std::int32_t tokens);
  // Gives a sequence's pages back; its number is not used again.
  void drop_sequence(int sequence);

  // One step of the main model over several pieces.
  Step forward(std::span<const Piece> pieces,
               model::Probe* probe = nullptr,
               model::Replay* replay = nullptr);
  // One step of the draft layer; `hidden` is Step::hidden of the same rows. Ids are the tokens one
  // position later.
  Step draft(std::span<const Piece> pieces,
             std::span<const float> hidden,
             model::Probe* probe = nullptr);

  // A whole prompt in chunks of max_tokens at most; the rows' logits and hidden states together.
  Step prefill(int sequence,
               std::span<const std::int32_t> ids,
               std::int32_t chunk = 0,
               std::int32_t first_position = 0);

  const config::ModelConfig& config() const { return config_; }
  const config::KvLayout& layout() const { return store_->layout(); }
  cache::KvStore& store() { return *store_; }
  std::span<const cache::PageId> pages(int sequence) const {
    return sequences_[static_cast<std::size_t>(sequence)];
  }

 private:
  struct Inputs;
  class HostProbe;
  Step collect(const Result<model::StepOutput>& output, std::int64_t rows);
  // Copies host memory that a view shows to the device, when that does not use the host's, for as
  // long as this step.
  void place(TensorView& view);
  void place(model::Batch& batch);
  std::vector<std::byte> to_host(const TensorView& view);

  config::ModelConfig config_;
  RunnerOptions options_;
  std::shared_ptr<const checkpoint::Checkpoint> checkpoint_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<ops::OpSet> ops_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<model::Weights> weights_;
  std::unique_ptr<model::Model> model_;
  std::optional<cache::KvStore> store_;
  std::optional<cache::PagePool> pool_;
  std::vector<std::vector<cache::PageId>> sequences_;
  std::vector<Buffer> inputs_;  // of the current step
};

// Index of the largest number, the lowest one on ties.
std::int32_t argmax(std::span<const float> numbers);

}  // namespace fathom::test_support
