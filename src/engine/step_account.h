#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "engine/runner.h"
#include "engine/sequence.h"
#include "engine/sequence_pages.h"
#include "wire/messages.h"

namespace fathom::engine {

// A step that is worth a line in the log. Counts are of this engine alone.
struct StepReport {
  std::int64_t at_ns = 0;  // of base now_ns()
  // Prompt rows of the step.
  std::int32_t prefill_requests = 0;
  std::int32_t prefill_tokens = 0;
  std::int32_t cached_tokens = 0;      // of their prompts, from the prefix cache
  std::int32_t pages_used_before = 0;  // before the step took its own
  // After it was launched.
  std::int32_t running = 0;  // requests that hold pages, those with prompt rows included
  std::int32_t waiting = 0;
  std::int32_t pages_used = 0;
  std::int32_t pages = 0;
  // Whether it was the turn of a decode line: one step with decode rows in report_interval.
  bool tells_decode = false;
  bool graph = false;
  std::int64_t generated_tokens = 0;  // since the start
  wire::DraftCounts drafts;           // since the start
  // What was retracted before the step.
  std::int32_t retracted = 0;
  std::int32_t pages_gained = 0;
  float ratio_before = 0;
  float ratio_after = 0;
};

struct StepAccountOptions {
  std::int32_t report_interval = 40;  // steps with decode rows
  // Called on the engine's thread; must not wait. Null: no reports.
  std::function<void(const StepReport&)> on_report;
};

using Sequences = std::map<wire::RequestId, std::shared_ptr<Sequence>>;

// Keeps the totals of an engine and reports its steps. The calls of one step come in the order of
// the members.
//
// Threads: the engine's thread alone.
class StepAccount {
 public:
  explicit StepAccount(StepAccountOptions options) : options_(std::move(options)) {}

  // Before a plan is applied.
  void begin(const SequencePages& pages, float reserve_ratio);
  // `sequence` has given its pages up, `gained` of which nobody else holds.
  void retracts(const Sequence& sequence, std::int32_t gained);
  // With speculation: a request was decoded, `drafts` were verified for it, 0 or more, and so many
  // of them were right.
  void decoded(std::int32_t drafts, std::int64_t accepted);
  // `sequence` begins with the rows that were found for it.
  void admits(const Sequence& sequence);
  // The step is launched. `sequences` are those that were launched with it and all others.
  void launched(const std::vector<Work>& work,
                bool graph,
                const Sequences& sequences,
                const SequencePages& pages,
                float reserve_ratio,
                std::int64_t generated_tokens);

  // Fills what of `load` is known here and from the sequences.
  void fill(wire::EngineLoad& load,
            const Sequences& sequences,
            const SequencePages& pages,
            float reserve_ratio) const;

 private:
  StepAccountOptions options_;
  wire::EngineTotals totals_;
  std::int64_t decode_context_tokens_ = 0;
  bool decode_in_graph_ = false;
  std::int32_t decode_steps_ = 0;  // since the last decode line
  StepReport report_;              // of the current step
};

}  // namespace fathom::engine
