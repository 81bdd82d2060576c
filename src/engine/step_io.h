#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/status.h"
#include "engine/input_arena.h"
#include "engine/runner.h"
#include "tensor/device.h"

// What goes to the device with a step and what comes back.
namespace fathom::engine {

// One row of logits: which Work it belongs to, and the position whose token it foretells.
struct LogitRow {
  std::size_t work = 0;
  std::int32_t row = 0;  // of the step
  std::int32_t position = 0;
};

// The logit rows of a step, those that draw first, in the order of `work`.
struct LogitRows {
  std::vector<LogitRow> rows;
  std::int64_t drawing = 0;
  std::int64_t drawers = 0;  // works that draw
  bool scored = false;       // whether log-probabilities are wanted of any
  std::int32_t top = 0;      // the most top log-probabilities that one wants
  std::int32_t asked = 0;    // the most tokens that one asks for
  std::int64_t count() const { return static_cast<std::int64_t>(rows.size()); }
};
// `drawable`: tokens that a top log-probability may be of.
void choose_logit_rows(std::span<const Work> work, std::int32_t drawable, LogitRows& chosen);

// The page table as the host has it, and which of its cells the device does not know yet.
class PageTable {
 public:
  explicit PageTable(std::int64_t cells)
      : pages_(static_cast<std::size_t>(cells)), waits_(static_cast<std::size_t>(cells)) {}

  void set(std::int64_t cell, cache::PageId page) {
    const auto at = static_cast<std::size_t>(cell);
    pages_[at] = page;
    if (waits_[at] != 0) return;
    waits_[at] = 1;
    waiting_.push_back(static_cast<std::int32_t>(cell));
  }
  // Cells that waited, each once.
  std::span<const std::int32_t> waiting() const { return waiting_; }
  cache::PageId page(std::int32_t cell) const { return pages_[static_cast<std::size_t>(cell)]; }
  void clear_waiting() {
    for (const std::int32_t cell : waiting_) waits_[static_cast<std::size_t>(cell)] = 0;
    waiting_.clear();
  }

 private:
  std::vector<cache::PageId> pages_;  // [cells]
  std::vector<std::uint8_t> waits_;   // [cells]
  std::vector<std::int32_t> waiting_;
};

// A step's inputs. The first arrays have `rows` and `logit_rows` entries, which padding may fill up
// past those of the work; the others follow, so that they do not move the first.
struct StepInputs {
  std::int64_t rows = 0;
  std::int64_t logit_row_count = 0;
  std::int64_t drawers = 0;
  bool drafts = false;

  Input<std::int32_t> ids;
  Input<std::int32_t> positions;
  Input<std::int32_t> sequences;
  Input<std::int32_t> logit_rows;
  Input<float> temperature;  // from here on per logit row
  Input<std::int32_t> top_k;
  Input<float> top_p;
  Input<float> min_p;
  Input<std::int32_t> seed;  // [logit rows, 2]
  Input<std::int32_t> sample;
  Input<std::int32_t> drawn_position;

  // For the draft layer, where there is one.
  Input<std::int32_t> next_ids;    // [rows]: the token after each row's, or the code of a draw
  Input<std::int32_t> first_draw;  // [drawers + 1]
  Input<std::int32_t> draft;       // [logit rows]: what the row after each draw's was computed with
  Input<std::int32_t> page_end;    // [drawers]: positions from here on have no page
  Input<std::int32_t> drawer;      // [drawers]: 0, 1, 2 …

  // Of works that have a leader: ops::AdvanceRowsArgs.
  Input<std::int32_t> leader;
  Input<std::int32_t> follower_row;
  Input<std::int32_t> follower_draw;
  Input<std::int32_t> follower_rows;

  Input<std::int32_t> known_token;  // of the logit rows that do not draw
  Input<std::int32_t> asked;        // [logit rows, asked]
  Input<std::int32_t> cell;         // of the page table, that change
  Input<std::int32_t> page;

  // Largest sizes of the arrays above, in bytes.
  static std::size_t bytes(const RunnerOptions& options);

  // Sizes of the first arrays.
  struct Sizes {
    std::int64_t rows = 0;
    std::int64_t logit_rows = 0;
    std::int64_t drawers = 0;
    bool drafts = false;
  };
  // Takes the first arrays. Equal sizes give equal views.
  static StepInputs lay_out(InputArena& arena, const Sizes& sizes);
  void fill(std::span<const Work> work, const LogitRows& chosen);
  void fill_drafts(std::span<const Work> work, const LogitRows& chosen);
  // The arrays after them.
  //
  // Whether any work has a leader.
  bool take_followers(InputArena& arena, std::span<const Work> work);
  // Log-probabilities are made of the tokens below `drawable`; the others are taken out here, and
  // StepOutputs::read() tells -infinity for them.
  void take_scores(InputArena& arena,
                   std::span<const Work> work,
                   const LogitRows& chosen,
                   std::int32_t drawable);
  void take_updates(InputArena& arena, const PageTable& table);
};

// A step's results on the host.
struct StepOutputs {
  Buffer buffer;
  std::int32_t* token = nullptr;     // [logit rows]
  std::int32_t* draft = nullptr;     // [drafts of a sequence, StepInputs::drawers]
  std::int32_t* accepted = nullptr;  // [StepInputs::drawers], with drafts
  float* logprob = nullptr;
  std::int32_t* top_ids = nullptr;  // [logit rows, top]
  float* top_logprobs = nullptr;
  float* asked_logprobs = nullptr;  // [logit rows, asked]

  static Result<StepOutputs> create(Device& device, const RunnerOptions& options);
  // Tokens and drafts of each work. `drafts`: of each; `drawers`: the width of `draft`.
  void read_draws(std::int32_t drafts, std::int64_t drawers, StepResult& result) const;
  // Log-probabilities of logit row `index`, as its request wants them.
  wire::PositionLogprobs read(const Work& work,
                              const LogitRows& chosen,
                              std::int64_t index,
                              std::int32_t drawable) const;
};

}  // namespace fathom::engine
