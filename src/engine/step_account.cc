#include "engine/step_account.h"

#include "base/clock.h"
#include "config/kv_layout.h"

namespace fathom::engine {

void StepAccount::begin(const SequencePages& pages, float reserve_ratio) {
  report_ = {};
  report_.pages_used_before = pages.used();
  report_.ratio_before = reserve_ratio;
}

void StepAccount::decoded(std::int32_t drafts, std::int64_t accepted) {
  ++totals_.drafts.steps;
  totals_.drafts.drafts += drafts;
  totals_.drafts.accepted += accepted;
}

void StepAccount::admits(const Sequence& sequence) {
  report_.cached_tokens += sequence.computed;
  totals_.cached_tokens += sequence.computed;
}

void StepAccount::retracts(const Sequence& sequence, std::int32_t gained) {
  ++totals_.retracted_requests;
  totals_.retracted_prompt_tokens += sequence.prompt_tokens;
  totals_.retracted_answer_tokens += sequence.generated();
  ++report_.retracted;
  report_.pages_gained += gained;
}

void StepAccount::launched(const std::vector<Work>& work,
                           bool graph,
                           const Sequences& sequences,
                           const SequencePages& pages,
                           float reserve_ratio,
                           std::int64_t generated_tokens) {
  bool decodes = false;
  std::int64_t context = 0;
  for (const Work& each : work) {
    if (each.decodes) {
      decodes = true;
      context += each.first + each.rows - each.drafts;
    } else {
      ++report_.prefill_requests;
      report_.prefill_tokens += each.rows;
    }
  }
  totals_.prefill_tokens += report_.prefill_tokens;
  if (decodes) {
    ++(graph ? totals_.graph_passes : totals_.plain_passes);
    decode_context_tokens_ = context;
    decode_in_graph_ = graph;
    if (++decode_steps_ >= options_.report_interval) {
      decode_steps_ = 0;
      report_.tells_decode = true;
    }
  }
  if (!options_.on_report) return;
  if (report_.prefill_requests == 0 && report_.retracted == 0 && !report_.tells_decode) return;
  for (const auto& [id, sequence] : sequences) {
    if (sequence->running()) {
      ++report_.running;
    } else if (!sequence->drawn_out() && sequence->compilation == nullptr) {
      ++report_.waiting;
    }
  }
  report_.at_ns = now_ns();
  report_.pages_used = pages.used();
  report_.pages = pages.capacity();
  report_.graph = graph;
  report_.generated_tokens = generated_tokens;
  report_.drafts = totals_.drafts;
  report_.ratio_after = reserve_ratio;
  options_.on_report(report_);
}

void StepAccount::fill(wire::EngineLoad& load,
                       const Sequences& sequences,
                       const SequencePages& pages,
                       float reserve_ratio) const {
  std::int32_t waiting = 0;
  std::int32_t retracted = 0;
  std::int64_t waiting_tokens = 0;
  std::int64_t own = 0;
  for (const auto& [id, sequence] : sequences) {
    // Those whose last token is under way neither run nor wait; those whose constraint is being
    // compiled are counted apart.
    if (!sequence->running() && !sequence->drawn_out() && sequence->compilation == nullptr) {
      ++waiting;
      waiting_tokens += sequence->known();
      if (sequence->retractions > 0) ++retracted;
    }
    own += static_cast<std::int64_t>(sequence->pages.size()) - sequence->indexed;
  }
  load.waiting = waiting;
  load.waiting_retracted = retracted;
  load.waiting_tokens = waiting_tokens;
  load.pages_used = pages.used();
  load.pages_cached = pages.cached();
  load.pages_leaked = pages.leaked(own);
  load.decode_context_tokens = load.running > 0 ? decode_context_tokens_ : 0;
  load.decode_in_graph = load.running > 0 && decode_in_graph_;
  load.reserve_ratio = reserve_ratio;
  load.totals = totals_;
  load.totals.evicted_tokens = pages.evicted() * config::kPageTokens;
}

}  // namespace fathom::engine
