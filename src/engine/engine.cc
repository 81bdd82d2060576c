#include "engine/engine.h"

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <variant>

#include "base/clock.h"
#include "cache/page_pool.h"
#include "config/kv_layout.h"
#include "engine/admission.h"
#include "engine/constraint.h"
#include "engine/runner.h"
#include "engine/sequence.h"
#include "sched/planner.h"
#include "sched/reserve.h"

namespace fathom::engine {

struct Engine::State {
  const config::ModelConfig& config;
  EngineOptions options;
  cache::PagePool pool;
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
  // Used again by every step.
  std::vector<sched::Claim> claims;
  std::vector<sched::SequenceView> views;
  std::vector<std::shared_ptr<Sequence>> planned;  // by the ids that the planner knows: their order

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
  std::vector<Work> apply(const sched::StepPlan& plan);
  void retract(Sequence& sequence);
  // Tells the reserve what a plan that has been applied means for it.
  void adjust_reserve(const sched::StepPlan& plan, const std::vector<Work>& work);
  void count_grammars();
  void start(Sequence& sequence);
  // What is known of a step before its results: rows that it computes, tokens that it draws.
  void foresee(const std::vector<Work>& work);
  void record(const Work& done, WorkResult result);

  void at(const char* phase) const {
    if (options.on_phase) options.on_phase(phase);
  }

  // Drops pages and slot.
  void let_go(Sequence& sequence);
  void publish(Sequence& sequence, wire::Finish finish, const Status& error);
  void finish(wire::RequestId id, wire::Finish finish, const Status& error);
  wire::Finish finished(const Sequence& sequence) const;
  bool ends(const Sequence& sequence, wire::TokenId token) const;
};

void Engine::State::take(std::vector<wire::ToEngine> messages) {
  for (wire::ToEngine& message : messages) {
    if (auto* request = std::get_if<wire::GenerateRequest>(&message)) {
      accept(std::move(*request));
    } else {
      finish(std::get<wire::AbortRequest>(message).id, wire::Finish::kAbort,
             Status(Code::kCancelled, "the request was aborted"));
    }
  }
}

void Engine::State::accept(wire::GenerateRequest request) {
  const wire::RequestId id = request.id;
  FATHOM_CHECK(!sequences.contains(id));
  Status status = admissible(request, config.vocab_size, options, pool.capacity());
  auto shared = std::make_shared<Sequence>();
  Sequence& sequence = *shared;
  sequence.received_ns = now_ns();
  sequence.prompt_tokens = static_cast<std::int32_t>(request.prompt.size());
  const std::int32_t limit = max_request_tokens(options, pool.capacity());
  sequence.max_new_tokens = std::clamp(request.sampling.max_new_tokens, 1,
                                       std::max(1, limit - sequence.prompt_tokens - 1));
  if (request.logprobs.wanted && request.logprobs.prompt_start == 0 && status.ok()) {
    sequence.prompt_logprobs.push_back(
        {request.prompt.front(), std::numeric_limits<float>::quiet_NaN(), {}, {}});
  }
  if (status.ok())
    sequence.adjustments =
        Adjustments(request.sampling, end_tokens_of(request, config.vocab_size, options));
  sequence.tokens = std::move(request.prompt);
  sequence.request = std::move(request);
  sequences.emplace(id, shared);
  if (status.ok()) status = ask_for_constraint(options.compiler, wake, sequence);
  if (sequence.compilation != nullptr) compiling.push_back(id);
  if (!status.ok()) finish(id, wire::Finish::kAbort, status);
}

void Engine::State::take_constraints() {
  std::erase_if(compiling, [this](wire::RequestId id) {
    const auto found = sequences.find(id);
    if (found == sequences.end()) return true;  // it was aborted, or its time was up
    if (!found->second->compilation->done()) return false;
    const Status status = take_constraint(*found->second);
    if (!status.ok()) finish(id, wire::Finish::kAbort, status);
    return true;
  });
}

std::int64_t Engine::State::first_deadline() const {
  std::int64_t first = 0;
  for (const auto& [id, sequence] : sequences) {
    const std::int64_t deadline = sequence->request.deadline_ns;
    if (deadline != 0 && (first == 0 || deadline < first)) first = deadline;
  }
  return first;
}

void Engine::State::expire() {
  const std::int64_t now = now_ns();
  std::vector<wire::RequestId> late;
  for (const auto& [id, sequence] : sequences) {
    const std::int64_t deadline = sequence->request.deadline_ns;
    if (deadline != 0 && deadline <= now) late.push_back(id);
  }
  for (const wire::RequestId id : late) {
    finish(id, wire::Finish::kAbort,
           Status(Code::kDeadlineExceeded, "the request's deadline has passed"));
  }
}

void Engine::State::abort_all(const Status& why) {
  while (!sequences.empty()) finish(sequences.begin()->first, wire::Finish::kAbort, why);
}

void Engine::State::let_go(Sequence& sequence) {
  pool.release(sequence.pages);
  sequence.pages.clear();
  if (sequence.slot >= 0) free_slots.push_back(sequence.slot);
  sequence.slot = -1;
  sequence.computed = 0;
}

void Engine::State::publish(Sequence& sequence, wire::Finish finish, const Status& error) {
  wire::TokenOutput output;
  output.id = sequence.request.id;
  const auto told_end = sequence.tokens.end() - sequence.pending;
  output.tokens.assign(told_end - sequence.unpublished, told_end);
  output.prompt_logprobs = std::exchange(sequence.prompt_logprobs, {});
  output.logprobs = std::exchange(sequence.logprobs, {});
  output.finish = finish;
  if (finish == wire::Finish::kStop) output.stop_token = sequence.last_told();
  output.error = error;
  output.prompt_tokens = sequence.prompt_tokens;
  output.generated_tokens = sequence.told();
  output.retractions = sequence.retractions;
  output.times = sequence.times;
  output.times.told_ns = now_ns() - sequence.received_ns;
  sequence.unpublished = 0;
  outputs.push_back(std::move(output));
}

void Engine::State::finish(wire::RequestId id, wire::Finish finish, const Status& error) {
  const auto found = sequences.find(id);
  if (found == sequences.end()) return;  // an abort that came after the end
  Sequence& sequence = *found->second;
  publish(sequence, finish, error);
  // A step under way may still write to its pages. Whoever gets them next writes in a later step,
  // thus after it.
  let_go(sequence);
  sequence.ended = true;
  sequences.erase(found);
}

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

void Engine::State::count_grammars() {
  if (options.compiler == nullptr) return;
  const grammar::CompilerCounts counts = options.compiler->counts();
  load.totals.grammar_requests = counts.requests;
  load.totals.grammar_cache_hits = counts.cache_hits;
  load.totals.grammar_failures = counts.failures;
  load.totals.grammar_timeouts = counts.timeouts;
}

void Engine::State::start(Sequence& sequence) {
  FATHOM_CHECK(!free_slots.empty() && !sequence.running());
  sequence.admission = ++admissions;
  if (sequence.times.started_ns < 0) sequence.times.started_ns = now_ns() - sequence.received_ns;
  sequence.slot = free_slots.back();
  free_slots.pop_back();
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

bool Engine::State::ends(const Sequence& sequence, wire::TokenId token) const {
  const wire::SamplingParams& sampling = sequence.request.sampling;
  if (sampling.ignore_eos) return false;
  const auto among = [token](const std::vector<wire::TokenId>& ids) {
    return std::find(ids.begin(), ids.end(), token) != ids.end();
  };
  return among(options.end_tokens) || among(sampling.stop_token_ids);
}

wire::Finish Engine::State::finished(const Sequence& sequence) const {
  if (ends(sequence, sequence.last_told()) || constraint_ends(sequence)) return wire::Finish::kStop;
  if (sequence.told() >= sequence.max_new_tokens) return wire::Finish::kLength;
  return wire::Finish::kNone;
}

void Engine::State::record(const Work& done, WorkResult result) {
  const auto found = sequences.find(done.sequence->request.id);
  // It ended while this step was under way: the step before had drawn its last token.
  if (found == sequences.end()) return;
  Sequence& sequence = *found->second;
  if (sequence.request.logprobs.wanted) {
    const std::size_t told = result.logprobs.size() - (done.draws ? 1 : 0);
    for (std::size_t i = 0; i < told; ++i) {
      sequence.prompt_logprobs.push_back(std::move(result.logprobs[i]));
    }
  }
  if (!done.draws) return;
  if (sequence.request.sampling.max_new_tokens == 0) {  // the prompt's log-probabilities alone
    finish(sequence.request.id, wire::Finish::kLength, {});
    return;
  }
  sequence.tell(result.token);
  if (sequence.told() == 1) sequence.times.first_token_ns = now_ns() - sequence.received_ns;
  ++load.generated_tokens;
  if (sequence.request.logprobs.wanted) {
    sequence.logprobs.push_back(std::move(result.logprobs.back()));
  }
  if (const Status status = advance_constraint(sequence, result.token); !status.ok()) {
    finish(sequence.request.id, wire::Finish::kAbort, status);
    return;
  }
  const wire::Finish end = finished(sequence);
  if (end != wire::Finish::kNone) {
    finish(sequence.request.id, end, {});
  } else if (sequence.request.stream &&
             (sequence.told() == 1 || sequence.unpublished >= sequence.request.stream_interval)) {
    publish(sequence, wire::Finish::kNone, {});
  }
}

Result<bool> Engine::State::launch() {
  at("plan a step");
  const sched::StepPlan step_plan = plan();
  if (step_plan.empty()) return false;
  account.begin(pool, reserve.ratio());
  const std::vector<Work> work = apply(step_plan);
  adjust_reserve(step_plan, work);
  at("launch a step");
  FATHOM_RETURN_IF_ERROR(runner->begin(work));
  const bool late = std::any_of(work.begin(), work.end(), [](const Work& each) {
    return each.draws && each.sequence->draws_late();
  });
  while (late && runner->under_way() > 0) FATHOM_RETURN_IF_ERROR(collect());
  at("draw");
  runner->draw();
  account.launched(work, runner->launched_graph(), sequences, pool, reserve.ratio(),
                   load.generated_tokens);
  foresee(work);
  return true;
}

Status Engine::State::collect() {
  at("wait for a step's results");
  Result<StepResult> step = runner->collect();
  at("take a step's results");
  FATHOM_RETURN_IF_ERROR(step.status());
  // Before anyone believes the numbers: were the weights still there?
  if (options.weights_health) FATHOM_RETURN_IF_ERROR(options.weights_health());
  ++load.steps;
  for (std::size_t i = 0; i < step->work.size(); ++i) {
    record(step->work[i], std::move(step->results[i]));
  }
  return {};
}

Status Engine::State::step() {
  const Result<bool> launched = launch();
  FATHOM_RETURN_IF_ERROR(launched.status());
  // Without overlap, the step's own results; with it, those of the step before the launched one.
  const std::size_t keep = options.overlap && *launched ? 1 : 0;
  while (runner->under_way() > keep) FATHOM_RETURN_IF_ERROR(collect());
  return {};
}

Result<std::unique_ptr<Engine>> Engine::create(const config::ModelConfig& config,
                                               model::Model& model,
                                               cache::KvStore& store,
                                               const ops::OpSet& ops,
                                               Device& device,
                                               const EngineOptions& options) {
  if (max_prompt_tokens(options, store.pages()) < 1) {
    return invalid_argument("a context of " + std::to_string(options.context_tokens) +
                            " tokens and a cache of " + std::to_string(store.pages()) +
                            " pages leave no room for a request");
  }
  RunnerOptions runner_options;
  runner_options.max_rows = options.max_rows();
  runner_options.max_logit_rows = options.max_logit_rows();
  runner_options.max_sequences = options.max_running;
  runner_options.context_tokens = options.context_tokens;
  runner_options.graph_batches = options.graph_batches;
  runner_options.pad_graphs = options.pad_graphs;
  runner_options.drawable_tokens = options.first_unused_token;
  runner_options.mask_threads = options.compiler != nullptr ? options.mask_threads : 1;
  auto runner = Runner::create(config, model, store, ops, device, runner_options);
  FATHOM_RETURN_IF_ERROR(runner.status());
  auto state = std::unique_ptr<State>(new State{config,
                                                options,
                                                cache::PagePool(store.pages()),
                                                std::move(runner).value(),
                                                sched::Reserve(options.reserve_ratio),
                                                {},
                                                {},
                                                {},
                                                {},
                                                0,
                                                {},
                                                {},
                                                StepAccount(options.account),
                                                {},
                                                {},
                                                {}});
  for (std::int32_t slot = state->options.max_running; slot-- > 0;) {
    state->free_slots.push_back(slot);
  }
  state->load.pages = store.pages();
  state->load.slots = options.max_running;
  state->load.reserve_ratio = options.reserve_ratio;
  return std::unique_ptr<Engine>(new Engine(std::move(state)));
}

Engine::Engine(std::unique_ptr<State> state) : state_(std::move(state)) {}
Engine::~Engine() = default;

Status Engine::capture_graphs() { return state_->runner->capture_graphs(); }

Status Engine::run(wire::EnginePort& port) {
  State& state = *state_;
  Status status;
  state.wake = port.waker();
  while (!port.closed() && status.ok()) {
    // Requests that only wait for their constraint have nothing to do either.
    const bool idle =
        state.sequences.size() == state.compiling.size() && state.runner->under_way() == 0;
    if (idle) state.at(nullptr);
    std::vector<wire::ToEngine> messages =
        port.receive(/*wait=*/idle, idle ? state.first_deadline() : 0);
    state.at("take requests");
    state.take(std::move(messages));
    state.expire();
    state.take_constraints();
    if (!state.sequences.empty() || state.runner->under_way() > 0) status = state.step();
    if (state.sequences.empty()) state.reserve.on_idle();
    state.load.running = state.options.max_running - static_cast<int>(state.free_slots.size());
    state.load.waiting_for_grammar = static_cast<std::int32_t>(state.compiling.size());
    state.account.fill(state.load, state.sequences, state.pool, state.reserve.ratio());
    state.count_grammars();
    state.at("publish outputs");
    port.publish_load(state.load);
    port.publish(std::exchange(state.outputs, {}));
  }
  const Status why =
      status.ok() ? Status(Code::kUnavailable, "the instance is shutting down") : status;
  state.at(nullptr);
  state.abort_all(why);
  port.publish(std::exchange(state.outputs, {}));
  port.end(why);
  return status;
}

}  // namespace fathom::engine
