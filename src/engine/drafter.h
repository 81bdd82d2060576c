#pragma once

#include <cstdint>
#include <memory>

#include "base/check.h"
#include "base/status.h"
#include "cache/kv_store.h"
#include "config/model_config.h"
#include "engine/runner.h"
#include "engine/step_io.h"
#include "model/model.h"
#include "ops/op_set.h"
#include "tensor/device.h"

namespace fathom::engine {

// Arguments that do not validate are a bug of the engine.
template <class Args>
void require_valid(const Args& args) {
  const Status valid = ops::validate(args);
  FATHOM_CHECK_MSG(valid.ok(), valid.message());
}

// What a step does with the draft layer, behind its draws:
//
//   the rows of the step, each with the token after its own   -> the draft layer's cache rows
//   each sequence's last row of use                           -> its first draft
//   that row's hidden state and the draft, a position further -> the next draft, and so on
//
// Rows behind drafts that were wrong leave numbers that the next step writes over. All of it may be
// captured into a graph.
//
// Threads: the runner's.
class Drafter {
 public:
  // Everything given must outlive it, as for the runner. Requires options.drafts > 0.
  static Result<std::unique_ptr<Drafter>> create(const config::ModelConfig& config,
                                                 model::Model& model,
                                                 cache::KvStore& store,
                                                 const ops::OpSet& ops,
                                                 Device& device,
                                                 const RunnerOptions& options);

  // `batch` is the model's part of the step, `hidden` what it gave, `drawn` i32 [logit rows] the
  // step's draws.
  Status draft(Stream& stream,
               const StepInputs& inputs,
               model::Batch batch,
               const Buffer& drawn,
               const TensorView& hidden);

  // Puts the rows of `inputs` that have a leader where they belong, behind the last call's:
  // `leaders` are its inputs' drawers.
  void advance(Stream& stream, const StepInputs& inputs, std::int64_t leaders);

  // i32 [drafts, inputs.drawers], flat, and [inputs.drawers]: what the last call made, and how many
  // drafts were right.
  const Buffer& drafted() const { return drafted_; }
  const Buffer& accepted() const { return accepted_; }

 private:
  Drafter(const config::ModelConfig& config,
          model::Model& model,
          cache::KvStore& store,
          const ops::OpSet& ops,
          const RunnerOptions& options)
      : config_(config), model_(model), store_(store), ops_(ops), options_(options) {}

  Status chain(Stream& stream, const StepInputs& inputs, model::Batch batch, TensorView hidden);
  // The best token of each row of the draft layer's logits becomes draft number `draft`.
  void guess(Stream& stream, const TensorView& logits, std::int32_t draft);
  TensorView drafted_tokens(std::int32_t draft, std::int64_t drawers) const {
    return drafted_.view(DType::kI32, {drawers},
                         static_cast<std::size_t>(draft * drawers) * sizeof(std::int32_t));
  }

  const config::ModelConfig& config_;
  model::Model& model_;
  cache::KvStore& store_;
  const ops::OpSet& ops_;
  RunnerOptions options_;
  Buffer accepted_;        // i32 [logit rows]: right drafts of each work that draws
  Buffer last_row_;        // i32 [logit rows]: the last row of use of each
  Buffer last_token_;      // i32 [logit rows]: what it drew
  Buffer drafted_;         // i32 [drafts, logit rows], flat
  Buffer log_sum_;         // f32 [logit rows]
  Buffer chain_position_;  // i32 [logit rows]
  Buffer chain_sequence_;  // i32 [logit rows]
  Buffer chain_hidden_;    // f32 or bf16 [logit rows, hidden], flat
};

}  // namespace fathom::engine
