#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/status.h"
#include "cache/kv_store.h"
#include "config/attention_form.h"
#include "config/kv_layout.h"
#include "config/model_config.h"
#include "model/mutation.h"
#include "model/weights.h"
#include "ops/op_set.h"
#include "tensor/device.h"

namespace fathom::model {

struct ModelOptions {
  config::Arithmetic arithmetic = config::Arithmetic::kDeployed;
  std::int32_t max_tokens = 512;      // rows of one step
  std::int32_t max_logit_rows = 64;   // rows of one step whose logits are wanted
  std::int32_t max_positions = 4096;  // positions are below this
  // One form for all rows of the model's life, whatever the step: the forms differ in bits. The
  // expanded one takes workspace for max_positions expanded keys and values.
  config::AttentionForm attention_form = config::AttentionForm::kAbsorbed;
  Mutation mutation = Mutation::kNone;
};

// The rows [first_row, first_row + rows) of a step, all of one sequence.
struct Segment {
  std::int32_t sequence = 0;  // row of the page table
  std::int32_t first_row = 0;
  std::int32_t rows = 0;
  std::int32_t visible = 0;  // positions below it are seen by the rows: the last position plus one
};

// Rows of one step: prefill chunks and decode tokens of any number of sequences, in any order, but
// a sequence's tokens with ascending positions. A row's result depends on its own sequence only.
// All views are device memory; rows are int32.
struct Batch {
  TensorView ids;                 // [tokens]
  ops::PagedTokens tokens;        // positions, sequences [tokens]; page table
  TensorView logit_rows;          // [rows]: the rows whose logits are wanted
  std::int32_t max_position = 0;  // the largest of positions, known to whoever planned the step
  // Host memory: all rows in order, without gaps. Read by the expanded attention form alone, which
  // expands the keys of one segment's sequence at a time; absent otherwise.
  std::span<const Segment> segments;
};

// What a step leaves behind, in the model's own memory: valid until the next step.
struct StepOutput {
  TensorView hidden;  // [tokens, hidden]: after the final norm; the draft layer's input
  TensorView logits;  // [rows, vocab] f32
};

// Sees inside a step, for tests and expert statistics. Layer num_hidden_layers is the draft layer.
// Views are valid during the call only.
class Probe {
 public:
  virtual ~Probe() = default;
  // The residual stream before `layer`; after the last layer, the hidden state after the final
  // norm.
  virtual void residual(std::int32_t layer, const TensorView& hidden) = 0;
  // `first_row` .. are the rows of `selected` and `scores` (f32, or rows that were not written).
  virtual void selection(std::int32_t layer,
                         std::int64_t first_row,
                         const TensorView& selected,
                         const TensorView& count,
                         const TensorView& scores) = 0;
  virtual void experts(std::int32_t layer,
                       const TensorView& experts,
                       const TensorView& weights) = 0;
};

// Tests only: choices taken from elsewhere instead of computed, so that two arithmetics can be
// compared under equal choices. A view without data computes the choice.
class Replay {
 public:
  virtual ~Replay() = default;
  virtual TensorView selected(std::int32_t layer) = 0;  // [tokens, k] i32
  virtual TensorView count(std::int32_t layer) = 0;     // [tokens] i32
  virtual TensorView experts(std::int32_t layer) = 0;   // [tokens, k] i32
};

// DeepSeek-V3.2 as a sequence of operations: the main model and its draft (MTP) layer. Sized once,
// allocates nothing per step, enqueues only.
//
// Threads: one step at a time.
class Model {
 public:
  // `weights`, `ops` and `device` must outlive the model. kResourceExhausted names the bytes of
  // workspace wanted; kInvalidArgument when an option does not fit the configuration.
  static Result<std::unique_ptr<Model>> create(const config::ModelConfig& config,
                                               const Weights& weights,
                                               const ops::OpSet& ops,
                                               Device& device,
                                               const ModelOptions& options);
  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  // Main model: writes the cache rows of layers 0 .. num_hidden_layers - 1 and gives hidden states
  // of all rows and logits of batch.logit_rows. kInvalidArgument when the batch exceeds the
  // options; nothing is enqueued then.
  Result<StepOutput> forward(Stream& stream,
                             const Batch& batch,
                             cache::KvStore& store,
                             Probe* probe = nullptr,
                             Replay* replay = nullptr);

  // Draft layer for rows that have just gone through forward(): row i holds the token at position
  // i + 1 in batch.ids, position i in batch.tokens, and the main model's hidden state of position i
  // in `hidden` [tokens, hidden]. Writes the draft layer's cache rows; logits guess the token at
  // position i + 2. `hidden` may be StepOutput::hidden. Requires a draft layer.
  Result<StepOutput> draft(Stream& stream,
                           const Batch& batch,
                           const TensorView& hidden,
                           cache::KvStore& store,
                           Probe* probe = nullptr,
                           Replay* replay = nullptr);

  const ModelOptions& options() const;
  std::int64_t workspace_bytes() const;

 private:
  struct State;
  explicit Model(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fathom::model
