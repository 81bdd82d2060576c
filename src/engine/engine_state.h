#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "config/model_config.h"
#include "engine/engine.h"
#include "engine/runner.h"
#include "engine/sequence.h"
#include "engine/sequence_pages.h"
#include "engine/step_account.h"
#include "sched/draft_switch.h"
#include "sched/order.h"
#include "sched/planner.h"
#include "sched/reserve.h"

// Inside of the engine: engine_requests.cc has the life of requests, engine_plan.cc what a step is
// to do and did, engine.cc the loop.
namespace fathom::engine {

struct Engine::State {
  const config::ModelConfig& config;
  EngineOptions options;
  SequencePages pages;
  std::unique_ptr<Runner> runner;
  sched::Reserve reserve;
  // Unfinished, in order of arrival. Steps under way share them.
  std::map<wire::RequestId, std::shared_ptr<Sequence>> sequences;
  std::vector<std::int32_t> free_slots;
  std::vector<wire::RequestId> compiling;  // whose constraint is waited for
  std::function<void()> wake;              // ends the wait of the engine's thread
  std::int64_t admissions = 0;
  std::vector<wire::TokenOutput> outputs;  // of the current round
  wire::EngineLoad load;
  StepAccount account;
  std::optional<sched::DraftSwitch> draft_switch;
  bool verifies = false;           // drafts, in the step that is planned
  std::int64_t step_began_ns = 0;  // for the switch
  // Used again by every step.
  std::vector<sched::Claim> claims;
  std::vector<sched::SequenceView> views;
  std::vector<std::shared_ptr<Sequence>> planned;  // by the ids that the planner knows: their order
  std::vector<SequencePages::Found> found;         // for those, while they wait
  std::vector<const Sequence*> running;            // in their order
  std::vector<std::int32_t> shared;                // pages of those

  void take(std::vector<wire::ToEngine> messages);
  void accept(wire::GenerateRequest request);
  void take_constraints();
  void expire();
  // When the engine's thread has to look at the time again, while nothing else happens.
  std::int64_t first_deadline() const;
  void abort_all(const Status& why);

  // Launches the next step, if there is one, and takes the results of the step before (overlap), or
  // of the same step.
  Status step();
  // Whether there was one. Where an answer has a say in its next logits, the results of the step
  // before are taken between the step's two parts.
  Result<bool> launch();
  Status collect();
  sched::StepPlan plan();
  void choose_claims();
  // Appends it to what is planned with; but one that waits comes after others that are about to
  // compute rows which it would then find.
  void add_view(const std::shared_ptr<Sequence>& sequence);
  static std::int32_t first_logit_row(const Sequence& sequence);
  // Rows of a sequence that waits which it may find instead of computing them.
  static std::int32_t findable_rows(const Sequence& sequence);
  sched::SequenceView view_of(const Sequence& sequence) const;
  bool comes_after(const Sequence& sequence, std::int32_t found_pages, std::int32_t rows) const;
  std::vector<Work> apply(const sched::StepPlan& plan);
  void retract(Sequence& sequence);
  // Whether an answer goes on with these rows.
  bool decodes(const sched::PlannedRows& rows) const;
  // Whether answers go on in the planned step and nothing else.
  bool decodes_alone(const sched::StepPlan& plan) const;
  // Whether the draft layer runs in a step whose plan has been applied. Where it does not its rows
  // are missing from here on.
  bool chooses_drafting(const sched::StepPlan& plan);
  // Tells the switch what became of a step, in which answers got `tokens`.
  void time_step(const StepResult& step, std::int64_t tokens);
  // Tells the reserve what a plan that has been applied means for it.
  void adjust_reserve(const sched::StepPlan& plan, const std::vector<Work>& work);
  void count_grammars();
  void start(Sequence& sequence, const SequencePages::Found& its);
  // What is known of a step before its results: rows that it computes, tokens that it draws.
  void foresee(const std::vector<Work>& work);
  void record(const Work& done, WorkResult result);
  // The answer goes on, perhaps to its end.
  void take_token(Sequence& sequence, wire::TokenId token, bool behind_draft);

  void at(const char* phase) const {
    if (options.on_phase) options.on_phase(phase);
  }

  // Drops pages and slot. What the first `tokens` tokens led to can still be found.
  void let_go(Sequence& sequence, std::int32_t tokens = std::numeric_limits<std::int32_t>::max());
  // Lets others find what is computed of it.
  void offer(Sequence& sequence);
  void publish(Sequence& sequence, wire::Finish finish, const Status& error);
  // `answer_tokens`: wire::AbortRequest's.
  void finish(wire::RequestId id,
              wire::Finish finish,
              const Status& error,
              std::int32_t answer_tokens = -1);
  wire::Finish finished(const Sequence& sequence) const;
  bool ends(const Sequence& sequence, wire::TokenId token) const;
};

}  // namespace fathom::engine
