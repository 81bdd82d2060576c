#pragma once

#include <cstdint>
#include <vector>

#include "wire/messages.h"

// Pure planning: the engine's queues in, one step out. No clock, no memory, no side effects, so
// that a day of traffic can be planned in a second.
namespace fathom::sched {

// One request as the planner sees it. Its tokens are the prompt and what was generated, `known`
// of them; cache rows exist for the first `computed`. A step that computes row known - 1 gives the
// next token.
struct SequenceView {
  wire::RequestId id = 0;            // ascending in order of arrival
  bool running = false;              // holds pages; else it waits with none
  std::int32_t known = 0;            // >= 1
  std::int32_t computed = 0;         // < known
  std::int32_t pages = 0;            // held now
  std::int32_t remaining = 0;        // tokens it may still generate, >= 1
  std::int32_t first_logit_row = 0;  // rows from this one on need logits; <= known - 1
};

// What a step may use. All limits are of this engine, one rank.
struct Budget {
  std::int32_t page_tokens = 64;
  std::int32_t pages = 0;                   // the pool's capacity
  std::int32_t max_running = 1;             // requests that hold pages
  std::int32_t chunk_tokens = 8192;         // --chunked-prefill-size: prompt rows of one step
  std::int32_t max_prefill_tokens = 16384;  // --max-prefill-tokens; the tighter of the two holds
  std::int32_t max_prefill_requests = 0;    // requests with prompt rows in one step; 0: any
  std::int32_t max_logit_rows = 64;         // >= max_running
  // Of a request's remaining tokens (at most reserve_clip), this part is thought to be needed when
  // it is admitted. The engine raises it after a retraction and lets it sink while there is none.
  float reserve_ratio = 0.7F;
  std::int32_t reserve_clip = 4096;
};

// Rows [first, first + rows) of one sequence.
struct PlannedRows {
  wire::RequestId id = 0;
  std::int32_t first = 0;
  std::int32_t rows = 0;
  std::int32_t new_pages = 0;   // to take from the pool before the step
  std::int32_t logit_rows = 0;  // the last so many of the rows need logits
  bool admitted = false;        // was waiting
  bool completes = false;       // computes row known - 1: a token comes of it
};

struct StepPlan {
  std::vector<wire::RequestId> retract;  // give all pages back and wait again, before anything else
  std::vector<PlannedRows> rows;  // decode rows first, then prompt rows; ids ascending in each
  bool empty() const { return rows.empty(); }
};

// Plans one step. `sequences` are all unfinished requests, ids ascending.
//
// - Every running sequence that needs just one more row (decode) takes part in every step. Pages
//   that they lack are taken from the youngest running sequences, which are retracted; the oldest
//   is never retracted, so it finishes, and so does everything after it.
// - What remains of the token budget goes to prompt rows: first running sequences, then waiting
// ones
//   in order of arrival, and none overtakes an older one that does not fit yet.
// - A waiting sequence is admitted when the pages of all its known tokens and the reserve of every
//   running sequence fit, or when nothing runs at all.
//
// Requires that each sequence alone fits: known + remaining - 1 rows in budget.pages, and that the
// views agree with the budget (pages held sum to at most budget.pages).
StepPlan plan_step(const std::vector<SequenceView>& sequences, const Budget& budget);

}  // namespace fathom::sched
