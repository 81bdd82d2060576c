#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/check.h"
#include "base/status.h"
#include "cache/kv_store.h"
#include "config/kv_layout.h"
#include "config/model_config.h"
#include "engine/sequence.h"
#include "model/model.h"
#include "ops/op_set.h"
#include "tensor/device.h"
#include "wire/messages.h"

namespace fathom::engine {

// What a position's log-probabilities may at most hold beside the token's own; admissible() refuses
// more.
using wire::kMaxAskedLogprobs;
using wire::kMaxTopLogprobs;

struct RunnerOptions {
  std::int32_t max_rows = 0;        // of one step
  std::int32_t max_logit_rows = 0;  // of one step
  std::int32_t max_sequences = 0;   // slots of the page table
  std::int32_t context_tokens = 0;  // positions are below this
  // Batch sizes that get a graph, ascending; the device must capture graphs when there are any.
  std::vector<std::int32_t> graph_batches;
  bool pad_graphs = true;  // a batch between two sizes runs in the next larger one's graph
  // Drafts that a sequence may have: the model's draft layer makes them after each step. 0: none.
  std::int32_t drafts = 0;
  // Below 1 drafts decide themselves (ops::SampleArgs).
  float accept_threshold_single = 1;
  float accept_threshold_acc = 1;
  std::int32_t drawable_tokens = 0;  // tokens from this id on are never drawn; 0: all are

  // Ids that may be drawn are below this.
  std::int32_t drawable(std::int32_t vocab_size) const {
    return drawable_tokens > 0 && drawable_tokens < vocab_size ? drawable_tokens : vocab_size;
  }
  std::int64_t pages_of_sequence() const { return ceil_div(context_tokens, config::kPageTokens); }
  std::int64_t page_table_cells() const { return max_sequences * pages_of_sequence(); }
  int mask_threads = 1;  // that fill masks of constraints, the engine's included
};

// Rows [first, first + rows) of one sequence. The last `logit_rows` of them give logits: row i
// those of position i + 1. A Work that draws reaches the sequence's last token and gives the next;
// the last `drafts` of its rows are of the sequence's drafts, and draw as well.
struct Work {
  std::shared_ptr<const Sequence> sequence;
  std::int32_t first = 0;
  std::int32_t rows = 0;
  std::int32_t logit_rows = 0;
  std::int32_t drafts = 0;
  bool draws = false;
  bool decodes = false;  // one row of an answer, and its drafts
  // Where its first row is of a token that a step under way draws behind drafts: that step's
  // number of the Work that draws it (index_of_drawn), else -1. Its rows may then be as many as
  // `ahead` further than `first` says, and so may those of its drafts; they are those that the step
  // under way makes.
  std::int32_t leader = -1;
  std::int32_t ahead = 0;
  std::int32_t page_end = 0;   // positions from here on have no page, or are past the context
  std::int32_t first_row = 0;  // of the step; the runner's
  std::int32_t draws_of() const { return draws ? 1 + drafts : 0; }
};

// What a step made of one Work.
struct WorkResult {
  // What it drew, if it draws: as many tokens as its right drafts, and one.
  std::vector<wire::TokenId> tokens;
  std::vector<wire::TokenId> drafts;  // of what follows those
  // Of the positions after its logit rows, when the request wants them: the drawn tokens' come
  // last.
  std::vector<wire::PositionLogprobs> logprobs;
};

struct StepResult {
  // Of the draft layer, where the device computes what it is given at once.
  double draft_seconds = 0;
  std::vector<Work> work;
  std::vector<WorkResult> results;  // in the same order
};

// Runs steps on one device: puts the rows of many sequences together, calls the model and draws the
// next tokens. A step may be begun, and drawn from, while the one before it is still under way: the
// tokens that this one draws reach the next on the device. All memory is taken at the start.
//
// Threads: the engine's thread alone.
class Runner {
 public:
  static constexpr std::size_t kMaxUnderWay = 2;

  // Everything given must outlive the runner. `model` was created with at least the options' rows
  // and positions.
  static Result<std::unique_ptr<Runner>> create(const config::ModelConfig& config,
                                                model::Model& model,
                                                cache::KvStore& store,
                                                const ops::OpSet& ops,
                                                Device& device,
                                                const RunnerOptions& options);
  // Waits for the steps under way.
  ~Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  // Captures the graphs of options.graph_batches, each once for contexts that are attended to as a
  // whole and once for those that are selected from. Called once, before the first step.
  Status capture_graphs();

  // Tells the page table that `sequence` holds other pages than before from index `from` on; holds
  // from the next begin() on. Requires sequence.slot in [0, max_sequences).
  void update_pages(const Sequence& sequence, std::size_t from);

  // The code that stands for the token drawn by the `index`-th Work that draws of the last step
  // that was drawn from, until its number is known.
  static wire::TokenId code_of_drawn(std::int32_t index) { return -1 - index; }
  static std::int32_t index_of_drawn(wire::TokenId code) { return -1 - code; }

  // Enqueues a step as far as its logits. Tokens of a sequence may be codes of the step before;
  // with drafts, where only a Work with a leader may have one, at its first row. A
  // failure leaves nothing enqueued that matters. Requires that draw() followed the last begin(),
  // one Work per sequence, rows within the options, pages for all rows, and fewer than kMaxUnderWay
  // steps under way.
  // `drafts`: whether the draft layer runs; else no Work may have drafts, and there are no graphs.
  Status begin(std::vector<Work> work, bool drafts = true);
  // Enqueues the rest of the step that was begun: what is done to its logits, the draws, the
  // log-probabilities, the draft layer. The step before may have been collected since; where an
  // answer's tokens have a say in its next (Sequence::draws_late) it must have been. Sequences that
  // ended meanwhile are drawn for, too.
  void draw();

  // Steps that were drawn from and not collected.
  std::size_t under_way() const;
  // Whether the last launch ran as a captured graph.
  bool launched_graph() const;

  // Waits for the oldest step under way. A failure is the device's or the model's and leaves the
  // caches of the step's sequences undefined. Requires under_way() > 0.
  Result<StepResult> collect();

 private:
  struct State;
  explicit Runner(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fathom::engine
