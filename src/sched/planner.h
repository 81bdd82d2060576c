#pragma once

#include <cstdint>
#include <vector>

#include "wire/messages.h"

// Pure planning: the engine's queues in, one step out. No clock, no memory, no side effects, so
// that a day of traffic can be planned in a second.
namespace fathom::sched {

// One request as the planner sees it. Its tokens are the prompt and what was generated, `known`
// of them; cache rows exist for the first `computed`. A step that computes row known - 1 gives the
// next token. A sequence that waits, new or retracted, holds nothing: its `computed` rows and
// `pages` are those that a prefix cache has for it, whole pages, and are its own once it is
// admitted. What a retracted one had generated is part of what it computes again.
struct SequenceView {
  std::uint64_t id = 0;              // ascending in age, or whatever decides who is served first
                                     // (sched/order.h): the lower is the older
  bool running = false;              // holds pages; else it waits
  std::int32_t known = 0;            // >= 1
  std::int32_t computed = 0;         // < known
  std::int32_t pages = 0;            // held now; while it waits, found
  std::int32_t shared = 0;           // of them, those that older running sequences hold as well (of
                                     // one that waits: those that any running sequence holds)
  std::int32_t remaining = 0;        // tokens it may still generate, >= 1
  std::int32_t first_logit_row = 0;  // rows from this one on need logits; <= known - 1
  std::int32_t drafts = 0;  // guesses at its next tokens, whose rows a decode step would verify;
                            // < remaining
  bool sits_out = false;    // keeps its pages and has no rows, as it may have ended; it runs
};

// What a step may use. All limits are of this engine, one rank.
struct Budget {
  std::int32_t page_tokens = 64;
  std::int32_t pages = 0;                   // the pool's capacity; what no running sequence holds
                                            // is free, or a prefix cache gives it back
  std::int32_t max_running = 1;             // requests that hold pages
  std::int32_t chunk_tokens = 8192;         // --chunked-prefill-size: prompt rows of one step
  std::int32_t max_prefill_tokens = 16384;  // --max-prefill-tokens; the tighter of the two holds
  std::int32_t max_prefill_requests = 0;    // requests with prompt rows in one step; 0: any
  std::int32_t max_logit_rows = 64;         // of decode and prompt rows; >= max_running; the rows
                                            // of drafts are beside them
  // Of a request's remaining tokens (at most reserve_clip), this part is thought to be needed when
  // something is admitted beside it: sched::Reserve. In [0, 1].
  float reserve_ratio = 0.7F;
  std::int32_t reserve_clip = 4096;
  std::int32_t max_drafts = 0;  // the most that a sequence may have
};

// Rows [first, first + rows) of one sequence.
struct PlannedRows {
  std::uint64_t id = 0;
  std::int32_t first = 0;
  std::int32_t rows = 0;        // >= 1
  std::int32_t new_pages = 0;   // to take from the pool before the step, beside those found
  std::int32_t logit_rows = 0;  // the last so many of the rows need logits
  bool admitted = false;        // was waiting
  bool completes = false;       // computes row known - 1: a token comes of it
  std::int32_t drafts = 0;      // the last so many of the rows are of drafts; they need logits, too
};

struct StepPlan {
  // Youngest first. They give all pages back and wait again, before anything else.
  std::vector<std::uint64_t> retract;
  // Decode rows, then prompt rows of running sequences, then of admitted ones; ids ascending in
  // each. At most one entry per sequence.
  std::vector<PlannedRows> rows;
  bool empty() const { return rows.empty(); }
};

// Plans one step, which is empty only if `sequences` is or one sits out. These are unfinished
// requests, ids ascending: all that run, and the oldest of those that wait (waiting ones beyond the
// oldest max_running cannot change the plan). Takes time in proportion to their number.
//
// - Pages. A running sequence holds the pages of all its known tokens: those of the prompt from its
//   admission on, another whenever a generated token needs it. Pages that several hold count once.
//   If these are more than the pool has,
//   the youngest running sequences are retracted until they fit, and nothing is admitted. The
//   oldest is never retracted, so it finishes, and so does everything after it.
// - Decode. Every running sequence that needs just one more row takes part in every step. These
//   rows are beside the limits of prompt rows. The rows of its drafts are beside all limits: it has
//   all of them or none, the older sequence first, where pages are left and nothing is retracted.
//   Its pages then reach max_drafts - 1 rows further, for drafts that are made of drafts, but not
//   past what it may generate.
// - Prompt rows go to running sequences, then to waiting ones, the older first: as many as
//   min(chunk_tokens, max_prefill_tokens), max_prefill_requests and the logit rows that decode
//   leaves allow. Prompts are cut anywhere, so every step is filled and no prompt is too long.
// - Admission is in order of age; none overtakes an older one that does not fit yet. It takes a row
//   of this step at least, and room in the pool for the known tokens and the reserve of it and of
//   all that run. When nothing runs, the oldest is admitted whatever its reserve.
// - The reserve of a sequence is what reserve_ratio says and at least G tokens, but never more than
//   it may generate. G is page_tokens beyond what a sequence may generate in the steps that the
//   admitted one takes at the longest to its next token: whatever was admitted generates
//   page_tokens tokens (or ends) before it can be retracted again; with drafts, which may be right
//   for others alone, the part 1 / (1 + max_drafts) of them. That holds while younger requests
//   never come with lower ids.
//
// So the running sequences are the oldest of those that are shown. A caller that leaves a waiting
// one out for a while (engine: comes_after) lets younger ones go before it; these may then be
// retracted for it before they have generated as much.
//
// Requires that each sequence alone fits: known + remaining - 1 rows in budget.pages, and that the
// views agree with the budget (pages held sum to at most budget.pages, shared ones counted once).
StepPlan plan_step(const std::vector<SequenceView>& sequences, const Budget& budget);

}  // namespace fathom::sched
