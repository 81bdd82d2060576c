#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "config/kv_layout.h"
#include "engine/engine_state.h"

// What a step is to do, and what is known of it before its results.
namespace fathom::engine {

void Engine::State::choose_claims() {
  claims.clear();
  for (const auto& [id, sequence] : sequences) {
    if (sequence->drawn_out() || sequence->compilation != nullptr) continue;
    claims.push_back({id, sequence->running(), sequence->admission, sequence->request.priority,
                      sequence->max_new_tokens, 0});
  }
  // Looking all of a long queue up would hold the step up; then they keep their age.
  constexpr std::size_t kMostLookedUp = 128;
  const std::size_t runs = static_cast<std::size_t>(options.max_running) - free_slots.size();
  if (options.order.policy == sched::Policy::kLongestPrefix && !free_slots.empty() &&
      claims.size() <= runs + kMostLookedUp) {
    for (sched::Claim& claim : claims) {
      const Sequence& sequence = *sequences.at(claim.id);
      if (!claim.running) claim.cached_tokens = pages.found_rows(sequence, findable_rows(sequence));
    }
  }
  // Those that wait behind max_running others cannot change the plan; without a free slot none can.
  const std::size_t most = free_slots.empty() ? 0 : static_cast<std::size_t>(options.max_running);
  sched::put_in_order(options.order, most, claims);
}

bool Engine::State::comes_after(const Sequence& sequence,
                                std::int32_t found_pages,
                                std::int32_t rows) const {
  const std::int32_t wanted = (found_pages + 1) * config::kPageTokens;
  if (!options.prefix_cache || wanted > rows) return false;
  // With drafts a page is found by the token behind it, too: its last draft row was made of that.
  const std::int32_t compared = wanted + (options.drafts > 0 ? 1 : 0);
  const auto leads = [&](const Sequence& other) {
    if (other.computed >= std::min(wanted, other.known() - 1) || other.known() < compared) {
      return false;
    }
    // One whose logits are wanted goes on slowly.
    if (first_logit_row(other) < wanted - 1) return false;
    if (other.request.cache_namespace != sequence.request.cache_namespace) return false;
    const auto same = [&](std::int32_t from, std::int32_t to) {
      return std::equal(sequence.tokens.begin() + from, sequence.tokens.begin() + to,
                        other.tokens.begin() + from);
    };
    // Most differ in the last page, if anywhere.
    return same(wanted - config::kPageTokens, compared) && same(0, wanted - config::kPageTokens);
  };
  return std::any_of(running.begin(), running.end(),
                     [&](const Sequence* other) { return leads(*other); }) ||
         std::any_of(planned.begin(), planned.end(),
                     [&](const auto& other) { return !other->running() && leads(*other); });
}

std::int32_t Engine::State::first_logit_row(const Sequence& sequence) {
  const std::int32_t scored_from = sequence.first_scored_row();
  return scored_from < sequence.prompt_tokens - 1 ? scored_from : sequence.known() - 1;
}

// Rows whose logits are wanted are computed, whatever is found. Where tokens are counted for
// penalties they must lie in pages of the sequence's own: that bounds them (AdjustInputs).
std::int32_t Engine::State::findable_rows(const Sequence& sequence) {
  const std::int32_t rows = first_logit_row(sequence);
  return sequence.adjustments.penalizes() ? std::min(rows, sequence.prompt_tokens) : rows;
}

sched::SequenceView Engine::State::view_of(const Sequence& sequence) const {
  sched::SequenceView view;
  view.id = planned.size();
  view.running = sequence.running();
  view.pages = static_cast<std::int32_t>(sequence.pages.size());
  // As if every draft under way were right: where that is so, there must be pages for it.
  const std::int32_t ahead = sequence.may_follow();
  view.remaining = sequence.max_new_tokens - sequence.generated();
  view.sits_out = view.remaining <= ahead;  // it may have its last token already
  const std::int32_t further = view.sits_out ? 0 : ahead;
  view.known = sequence.known() + further;
  view.computed = sequence.computed + further;
  view.remaining -= further;
  view.first_logit_row = first_logit_row(sequence) + further;
  // A step under way makes as many as there may be.
  const std::int32_t drafts =
      sequence.pending > 0 ? options.drafts : static_cast<std::int32_t>(sequence.drafts.size());
  view.drafts = verifies && sequence.drafted() ? std::min(drafts, view.remaining - 1) : 0;
  return view;
}

void Engine::State::add_view(const std::shared_ptr<Sequence>& sequence) {
  sched::SequenceView view = view_of(*sequence);
  SequencePages::Found its;
  if (!view.running) {
    const std::int32_t rows = findable_rows(*sequence);
    its = pages.find(*sequence, rows);
    view.pages = static_cast<std::int32_t>(its.pages.size());
    view.computed = view.pages * config::kPageTokens;
    view.shared = pages.held_of(its);
    if (comes_after(*sequence, view.pages, rows)) return;
  }
  views.push_back(view);
  planned.push_back(sequence);
  found.push_back(std::move(its));
}

sched::StepPlan Engine::State::plan() {
  choose_claims();
  running.clear();
  for (const sched::Claim& claim : claims) {
    if (claim.running) running.push_back(sequences.at(claim.id).get());
  }
  pages.count_shared(running, shared);
  views.clear();
  planned.clear();
  found.clear();
  std::size_t next_running = 0;
  for (const sched::Claim& claim : claims) {
    add_view(sequences.at(claim.id));
    if (claim.running) views.back().shared = shared[next_running++];
  }
  sched::Budget budget;
  budget.page_tokens = config::kPageTokens;
  budget.pages = pages.capacity();
  budget.max_running = options.max_running;
  budget.chunk_tokens = options.chunk_tokens;
  budget.max_prefill_tokens = options.max_prefill_tokens;
  budget.max_prefill_requests = options.max_prefill_requests;
  budget.max_logit_rows = options.planned_logit_rows();
  budget.max_drafts = options.drafts;
  budget.reserve_ratio = reserve.ratio();
  budget.reserve_clip = options.reserve_clip;
  return sched::plan_step(views, budget);
}

std::vector<Work> Engine::State::apply(const sched::StepPlan& plan) {
  for (const std::uint64_t place : plan.retract) retract(*planned[place]);
  // Before anything is taken: room is made of what nobody holds.
  for (const sched::PlannedRows& rows : plan.rows) {
    if (rows.admitted) start(*planned[rows.id], found[rows.id]);
  }
  std::vector<Work> work;
  work.reserve(plan.rows.size());
  for (const sched::PlannedRows& rows : plan.rows) {
    Sequence& sequence = *planned[rows.id];
    const std::size_t held = rows.admitted ? 0 : sequence.pages.size();
    if (rows.new_pages > 0) pages.grow(sequence, rows.new_pages);
    if (sequence.pages.size() > held) runner->update_pages(sequence, held);
    Work each;
    each.sequence = planned[rows.id];
    each.first = sequence.computed;
    if (options.drafts > 0 && sequence.pending > 0) {
      FATHOM_CHECK(sequence.pending == 1);
      each.leader = Runner::index_of_drawn(sequence.tokens.back());
      each.ahead = sequence.ahead;
    }
    FATHOM_CHECK(rows.first == each.first + each.ahead);
    each.rows = rows.rows;
    each.logit_rows = rows.logit_rows;
    each.drafts = rows.drafts;
    each.page_end =
        std::min(options.context_tokens,
                 static_cast<std::int32_t>(sequence.pages.size()) * config::kPageTokens);
    each.draws = rows.completes;
    each.decodes = decodes(rows);
    work.push_back(std::move(each));
  }
  return work;
}

bool Engine::State::decodes(const sched::PlannedRows& rows) const {
  return rows.completes && rows.rows == 1 + rows.drafts && planned[rows.id]->generated() > 0;
}

bool Engine::State::decodes_alone(const sched::StepPlan& plan) const {
  return std::all_of(plan.rows.begin(), plan.rows.end(),
                     [this](const sched::PlannedRows& rows) { return decodes(rows); });
}

bool Engine::State::chooses_drafting(const sched::StepPlan& plan) {
  if (options.drafts == 0) return false;
  const bool drafting = (!draft_switch || draft_switch->on()) &&
                        std::any_of(plan.rows.begin(), plan.rows.end(), [this](const auto& rows) {
                          return planned[rows.id]->drafted();
                        });
  for (const sched::PlannedRows& rows : plan.rows) {
    std::int32_t& from = planned[rows.id]->undrafted_from;
    if (!drafting) from = std::min(from, rows.first);
  }
  return drafting;
}

void Engine::State::time_step(const StepResult& step, std::int64_t tokens) {
  sched::TimedStep timed;
  for (const Work& each : step.work) {
    timed.rows += each.rows;
    if (!each.decodes) {
      timed.prompt_rows += each.rows;
      continue;
    }
    ++timed.decoding;
    if (each.drafts > 0) ++timed.drafting;
  }
  timed.tokens = static_cast<std::int32_t>(tokens);
  timed.seconds = static_cast<double>(now_ns() - step_began_ns) * 1e-9;
  timed.draft_seconds = step.draft_seconds;
  const bool before = draft_switch->on();
  draft_switch->add(timed);
  if (draft_switch->on() == before || !options.on_draft_switch) return;
  options.on_draft_switch(!before, draft_switch->gain());
}

void Engine::State::start(Sequence& sequence, const SequencePages::Found& its) {
  FATHOM_CHECK(!free_slots.empty() && !sequence.running());
  sequence.admission = ++admissions;
  if (sequence.times.started_ns < 0) sequence.times.started_ns = now_ns() - sequence.received_ns;
  sequence.slot = free_slots.back();
  free_slots.pop_back();
  pages.admit(sequence, its);
  account.admits(sequence);
  if (sequence.cached_tokens < 0) sequence.cached_tokens = sequence.computed;
}

void Engine::State::offer(Sequence& sequence) {
  // Where tokens are counted for penalties the answer's pages stay the sequence's own
  // (findable_rows).
  const std::size_t first_changed = sequence.adjustments.penalizes()
                                        ? pages.offer(sequence, sequence.prompt_tokens)
                                        : pages.offer(sequence);
  if (first_changed < sequence.pages.size()) runner->update_pages(sequence, first_changed);
}

void Engine::State::retract(Sequence& sequence) {
  ++sequence.retractions;
  const std::int32_t before = pages.used();
  let_go(sequence);
  account.retracts(sequence, before - pages.used());
}

void Engine::State::adjust_reserve(const sched::StepPlan& plan, const std::vector<Work>& work) {
  if (plan.retract.empty()) {
    if (std::any_of(work.begin(), work.end(), [](const Work& each) { return each.decodes; })) {
      reserve.on_decode();
    }
    return;
  }
  std::int64_t count = 0;
  std::int64_t generated = 0;
  std::int64_t allowed = 0;
  for (const auto& [id, sequence] : sequences) {
    if (!sequence->running()) continue;
    ++count;
    generated += sequence->generated();
    allowed += sequence->max_new_tokens;
  }
  reserve.on_retraction(count, generated, allowed);
}

void Engine::State::foresee(const std::vector<Work>& work) {
  std::int32_t drawn = 0;
  for (const Work& each : work) {
    const auto unfinished = sequences.find(each.sequence->request.id);
    if (unfinished == sequences.end()) {  // it ended between the step's two parts
      if (each.draws) ++drawn;
      continue;
    }
    Sequence& sequence = *unfinished->second;
    sequence.computed += each.rows - each.drafts;
    // Answers are found when they are over.
    if (!each.decodes) offer(sequence);
    if (sequence.request.logprobs.wanted) {
      sequence.scored = std::max(sequence.scored, sequence.computed);
    }
    if (!each.draws) continue;
    sequence.tokens.push_back(Runner::code_of_drawn(drawn++));
    ++sequence.pending;
    sequence.ahead = each.drafts;
    // Nothing follows the last token: what it held is free for the next step, which writes later.
    if (sequence.drawn_out()) let_go(sequence);
  }
}

}  // namespace fathom::engine
