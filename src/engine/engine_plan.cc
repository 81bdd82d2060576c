#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "config/kv_layout.h"
#include "engine/engine_state.h"

// What a step is to do, and what is known of it before its results.
namespace fathom::engine {

sched::StepPlan Engine::State::plan() {
  claims.clear();
  for (const auto& [id, shared] : sequences) {
    const Sequence& sequence = *shared;
    if (sequence.drawn_out() || sequence.compilation != nullptr) continue;
    claims.push_back({id, sequence.running(), sequence.admission, sequence.request.priority,
                      sequence.max_new_tokens});
  }
  // Those that wait behind max_running others cannot change the plan.
  sched::put_in_order(options.order, static_cast<std::size_t>(options.max_running), claims);
  views.clear();
  planned.clear();
  for (const sched::Claim& claim : claims) {
    const std::shared_ptr<Sequence>& shared = sequences.at(claim.id);
    const Sequence& sequence = *shared;
    sched::SequenceView view;
    view.id = planned.size();
    planned.push_back(shared);
    view.running = sequence.running();
    view.known = sequence.known();
    view.computed = sequence.computed;
    view.pages = static_cast<std::int32_t>(sequence.pages.size());
    view.remaining = sequence.max_new_tokens - sequence.generated();
    const std::int32_t scored_from = sequence.first_scored_row();
    view.first_logit_row =
        scored_from < sequence.prompt_tokens - 1 ? scored_from : sequence.known() - 1;
    views.push_back(view);
  }
  sched::Budget budget;
  budget.page_tokens = config::kPageTokens;
  budget.pages = pool.capacity();
  budget.max_running = options.max_running;
  budget.chunk_tokens = options.chunk_tokens;
  budget.max_prefill_tokens = options.max_prefill_tokens;
  budget.max_prefill_requests = options.max_prefill_requests;
  budget.max_logit_rows = options.max_logit_rows();
  budget.reserve_ratio = reserve.ratio();
  budget.reserve_clip = options.reserve_clip;
  return sched::plan_step(views, budget);
}

std::vector<Work> Engine::State::apply(const sched::StepPlan& plan) {
  for (const std::uint64_t place : plan.retract) retract(*planned[place]);
  std::vector<Work> work;
  work.reserve(plan.rows.size());
  for (const sched::PlannedRows& rows : plan.rows) {
    const std::shared_ptr<Sequence>& shared = planned[rows.id];
    Sequence& sequence = *shared;
    if (rows.admitted) start(sequence);
    const std::size_t held = sequence.pages.size();
    if (rows.new_pages > 0) {
      Result<std::vector<cache::PageId>> pages = pool.take(rows.new_pages);
      FATHOM_CHECK_MSG(pages.ok(), pages.status().message());
      sequence.pages.insert(sequence.pages.end(), pages->begin(), pages->end());
      runner->update_pages(sequence, held);
    }
    FATHOM_CHECK(rows.first == sequence.computed);
    Work each;
    each.sequence = shared;
    each.first = rows.first;
    each.rows = rows.rows;
    each.logit_rows = rows.logit_rows;
    each.draws = rows.first + rows.rows == sequence.known();
    each.decodes = each.draws && rows.rows == 1 && sequence.generated() > 0;
    work.push_back(std::move(each));
  }
  return work;
}

void Engine::State::start(Sequence& sequence) {
  FATHOM_CHECK(!free_slots.empty() && !sequence.running());
  sequence.admission = ++admissions;
  if (sequence.times.started_ns < 0) sequence.times.started_ns = now_ns() - sequence.received_ns;
  sequence.slot = free_slots.back();
  free_slots.pop_back();
}

void Engine::State::retract(Sequence& sequence) {
  ++sequence.retractions;
  account.retracts(sequence);
  let_go(sequence);
}

void Engine::State::adjust_reserve(const sched::StepPlan& plan, const std::vector<Work>& work) {
  if (plan.retract.empty()) {
    if (std::any_of(work.begin(), work.end(), [](const Work& each) { return each.decodes; })) {
      reserve.on_decode();
    }
    return;
  }
  std::int64_t running = 0;
  std::int64_t generated = 0;
  std::int64_t allowed = 0;
  for (const auto& [id, sequence] : sequences) {
    if (!sequence->running()) continue;
    ++running;
    generated += sequence->generated();
    allowed += sequence->max_new_tokens;
  }
  reserve.on_retraction(running, generated, allowed);
}

void Engine::State::foresee(const std::vector<Work>& work) {
  std::int32_t drawn = 0;
  for (const Work& each : work) {
    const auto found = sequences.find(each.sequence->request.id);
    if (found == sequences.end()) {  // it ended between the step's two parts
      if (each.draws) ++drawn;
      continue;
    }
    Sequence& sequence = *found->second;
    sequence.computed = each.first + each.rows;
    if (sequence.request.logprobs.wanted) {
      sequence.scored = std::max(sequence.scored, sequence.computed);
    }
    if (!each.draws) continue;
    sequence.tokens.push_back(Runner::code_of_drawn(drawn++));
    ++sequence.pending;
    // Nothing follows the last token: what it held is free for the next step, which writes later.
    if (sequence.drawn_out()) let_go(sequence);
  }
}

}  // namespace fathom::engine
