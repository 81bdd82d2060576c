#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "cache/kv_store.h"
#include "config/model_config.h"
#include "engine/sequence.h"
#include "model/model.h"
#include "ops/op_set.h"
#include "tensor/device.h"

namespace fathom::engine {

// What a position's log-probabilities may at most hold beside the token's own.
constexpr std::int32_t kMaxTopLogprobs = 128;
constexpr std::int32_t kMaxAskedLogprobs = 128;

struct RunnerOptions {
  std::int32_t max_rows = 0;        // of one step
  std::int32_t max_logit_rows = 0;  // of one step
  std::int32_t max_sequences = 0;   // slots of the page table
  std::int32_t context_tokens = 0;  // positions are below this
};

// Rows [first, first + rows) of one running sequence. The last `logit_rows` of them give logits:
// row i those of position i + 1. When the rows reach the sequence's last token, a token is drawn.
struct Work {
  const Sequence* sequence = nullptr;
  std::int32_t first = 0;
  std::int32_t rows = 0;
  std::int32_t logit_rows = 0;

  bool decodes() const { return rows == 1 && draws() && sequence->generated() > 0; }
  bool draws() const { return first + rows == sequence->known(); }
};

// What a step made of one Work.
struct WorkResult {
  wire::TokenId token = -1;                      // drawn, or -1
  std::vector<wire::PositionLogprobs> logprobs;  // of the positions after its logit rows, when the
                                                 // request wants them: the drawn token's comes last
};

// Runs steps on one device: puts the rows of many sequences together, calls the model and draws the
// next tokens. All memory is taken at the start; host and device copies of a step's inputs are used
// again by the next.
//
// Threads: the engine's thread alone.
class Runner {
 public:
  // Everything given must outlive the runner. `model` was created with at least the options' rows
  // and positions.
  static Result<std::unique_ptr<Runner>> create(const config::ModelConfig& config,
                                                model::Model& model,
                                                cache::KvStore& store,
                                                const ops::OpSet& ops,
                                                Device& device,
                                                const RunnerOptions& options);
  ~Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  // Tells the page table that `sequence` holds other pages than before from index `from` on.
  // Requires sequence.slot in [0, max_sequences).
  void update_pages(const Sequence& sequence, std::size_t from);

  // Runs one step; results are in the order of `work`. A failure is the device's or the model's and
  // leaves the caches of the step's sequences undefined. Requires one Work per sequence, rows
  // within the options and pages for all rows.
  Result<std::vector<WorkResult>> run(std::span<const Work> work);

 private:
  struct State;
  explicit Runner(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fathom::engine
