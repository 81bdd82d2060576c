#include "engine/engine.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <variant>

#include "base/clock.h"
#include "cache/page_pool.h"
#include "config/kv_layout.h"
#include "engine/runner.h"
#include "engine/sequence.h"
#include "sched/planner.h"
#include "sched/reserve.h"

namespace fathom::engine {

namespace {

// Tokens that a prompt leaves for the answer at least.
constexpr std::int32_t kLeastAnswer = 5;

}  // namespace

std::int32_t max_request_tokens(const EngineOptions& options, std::int32_t pages) {
  const std::int64_t pool = std::int64_t{pages} * config::kPageTokens;
  return static_cast<std::int32_t>(std::min<std::int64_t>(options.context_tokens, pool)) - 1;
}

std::int32_t max_prompt_tokens(const EngineOptions& options, std::int32_t pages) {
  return max_request_tokens(options, pages) - kLeastAnswer;
}

struct Engine::State {
  const config::ModelConfig& config;
  EngineOptions options;
  cache::PagePool pool;
  std::unique_ptr<Runner> runner;
  sched::Reserve reserve;
  std::map<wire::RequestId, Sequence> sequences;  // unfinished, in order of arrival
  std::vector<std::int32_t> free_slots;
  std::vector<wire::TokenOutput> outputs;  // of the current round
  wire::EngineLoad load;
  // Used again by every step.
  std::vector<sched::SequenceView> views;
  std::vector<Work> work;

  void take(std::vector<wire::ToEngine> messages);
  void accept(wire::GenerateRequest request);
  Status admissible(const wire::GenerateRequest& request) const;
  void expire();
  void abort_all(const Status& why);

  Status step();
  sched::StepPlan plan();
  void apply(const sched::StepPlan& plan);
  void retract(Sequence& sequence);
  // Tells the reserve what a plan that has been applied means for it.
  void adjust_reserve(const sched::StepPlan& plan);
  void start(Sequence& sequence);
  void record(const Work& done, WorkResult result);

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

Status Engine::State::admissible(const wire::GenerateRequest& request) const {
  if (request.prompt.empty()) {
    return invalid_argument("the prompt is empty, expected at least one token");
  }
  const std::int32_t limit = max_prompt_tokens(options, pool.capacity());
  const auto length = static_cast<std::int64_t>(request.prompt.size());
  if (length > limit) {
    return invalid_argument("the prompt has " + std::to_string(length) +
                            " tokens; the context and the cache of this instance allow " +
                            std::to_string(limit));
  }
  for (const wire::TokenId id : request.prompt) {
    if (id >= 0 && id < config.vocab_size) continue;
    return invalid_argument("token id " + std::to_string(id) + " is outside the vocabulary of " +
                            std::to_string(config.vocab_size));
  }
  return {};
}

void Engine::State::accept(wire::GenerateRequest request) {
  const wire::RequestId id = request.id;
  FATHOM_CHECK(!sequences.contains(id));
  const Status status = admissible(request);
  Sequence sequence;
  sequence.prompt_tokens = static_cast<std::int32_t>(request.prompt.size());
  const std::int32_t limit = max_request_tokens(options, pool.capacity());
  sequence.max_new_tokens = std::clamp(request.sampling.max_new_tokens, 1,
                                       std::max(1, limit - sequence.prompt_tokens - 1));
  if (request.logprobs.wanted && request.logprobs.prompt_start == 0 && status.ok()) {
    sequence.prompt_logprobs.push_back(
        {request.prompt.front(), std::numeric_limits<float>::quiet_NaN(), {}, {}});
  }
  sequence.tokens = std::move(request.prompt);
  sequence.request = std::move(request);
  sequences.emplace(id, std::move(sequence));
  if (!status.ok()) finish(id, wire::Finish::kAbort, status);
}

void Engine::State::expire() {
  const std::int64_t now = now_ns();
  std::vector<wire::RequestId> late;
  for (const auto& [id, sequence] : sequences) {
    const std::int64_t deadline = sequence.request.deadline_ns;
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
  output.tokens.assign(sequence.tokens.end() - sequence.unpublished, sequence.tokens.end());
  output.prompt_logprobs = std::exchange(sequence.prompt_logprobs, {});
  output.logprobs = std::exchange(sequence.logprobs, {});
  output.finish = finish;
  if (finish == wire::Finish::kStop) output.stop_token = sequence.tokens.back();
  output.error = error;
  output.prompt_tokens = sequence.prompt_tokens;
  output.generated_tokens = sequence.generated();
  output.retractions = sequence.retractions;
  sequence.unpublished = 0;
  outputs.push_back(std::move(output));
}

void Engine::State::finish(wire::RequestId id, wire::Finish finish, const Status& error) {
  const auto found = sequences.find(id);
  if (found == sequences.end()) return;  // an abort that came after the end
  publish(found->second, finish, error);
  let_go(found->second);
  sequences.erase(found);
}

sched::StepPlan Engine::State::plan() {
  views.clear();
  std::int32_t waiting = 0;
  for (const auto& [id, sequence] : sequences) {
    // Those that wait behind max_running others cannot change the plan.
    if (!sequence.running() && ++waiting > options.max_running) continue;
    sched::SequenceView view;
    view.id = id;
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
  let_go(sequence);
}

void Engine::State::adjust_reserve(const sched::StepPlan& plan) {
  if (plan.retract.empty()) {
    if (std::any_of(work.begin(), work.end(), [](const Work& each) { return each.decodes(); })) {
      reserve.on_decode();
    }
    return;
  }
  std::int64_t running = 0;
  std::int64_t generated = 0;
  std::int64_t allowed = 0;
  for (const auto& [id, sequence] : sequences) {
    if (!sequence.running()) continue;
    ++running;
    generated += sequence.generated();
    allowed += sequence.max_new_tokens;
  }
  reserve.on_retraction(running, generated, allowed);
}

void Engine::State::start(Sequence& sequence) {
  FATHOM_CHECK(!free_slots.empty() && !sequence.running());
  sequence.slot = free_slots.back();
  free_slots.pop_back();
}

void Engine::State::apply(const sched::StepPlan& plan) {
  for (const wire::RequestId id : plan.retract) retract(sequences.at(id));
  work.clear();
  for (const sched::PlannedRows& rows : plan.rows) {
    Sequence& sequence = sequences.at(rows.id);
    if (rows.admitted) start(sequence);
    const std::size_t held = sequence.pages.size();
    if (rows.new_pages > 0) {
      Result<std::vector<cache::PageId>> pages = pool.take(rows.new_pages);
      FATHOM_CHECK_MSG(pages.ok(), pages.status().message());
      sequence.pages.insert(sequence.pages.end(), pages->begin(), pages->end());
      runner->update_pages(sequence, held);
    }
    FATHOM_CHECK(rows.first == sequence.computed);
    work.push_back({&sequence, rows.first, rows.rows, rows.logit_rows});
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
  if (ends(sequence, sequence.tokens.back())) return wire::Finish::kStop;
  if (sequence.generated() >= sequence.max_new_tokens) return wire::Finish::kLength;
  return wire::Finish::kNone;
}

void Engine::State::record(const Work& done, WorkResult result) {
  Sequence& sequence = sequences.at(done.sequence->request.id);
  const bool draws = done.draws();
  sequence.computed = done.first + done.rows;
  if (sequence.request.logprobs.wanted) {
    const std::size_t told = result.logprobs.size() - (draws ? 1 : 0);
    for (std::size_t i = 0; i < told; ++i) {
      sequence.prompt_logprobs.push_back(std::move(result.logprobs[i]));
    }
    sequence.scored = std::max(sequence.scored, sequence.computed);
  }
  if (!draws) return;
  if (sequence.request.sampling.max_new_tokens == 0) {  // the prompt's log-probabilities alone
    finish(sequence.request.id, wire::Finish::kLength, {});
    return;
  }
  sequence.tokens.push_back(result.token);
  ++sequence.unpublished;
  ++load.generated_tokens;
  if (sequence.request.logprobs.wanted) {
    sequence.logprobs.push_back(std::move(result.logprobs.back()));
  }
  const wire::Finish end = finished(sequence);
  if (end != wire::Finish::kNone) {
    finish(sequence.request.id, end, {});
  } else if (sequence.request.stream &&
             (sequence.generated() == 1 ||
              sequence.unpublished >= sequence.request.stream_interval)) {
    publish(sequence, wire::Finish::kNone, {});
  }
}

Status Engine::State::step() {
  const sched::StepPlan planned = plan();
  FATHOM_CHECK(!planned.empty());
  apply(planned);
  adjust_reserve(planned);
  Result<std::vector<WorkResult>> results = runner->run(work);
  FATHOM_RETURN_IF_ERROR(results.status());
  // Before anyone believes the numbers: were the weights still there?
  if (options.weights_health) FATHOM_RETURN_IF_ERROR(options.weights_health());
  ++load.steps;
  for (std::size_t i = 0; i < work.size(); ++i) record(work[i], std::move((*results)[i]));
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
                                                {},
                                                {}});
  for (std::int32_t slot = state->options.max_running; slot-- > 0;) {
    state->free_slots.push_back(slot);
  }
  state->load.pages = store.pages();
  return std::unique_ptr<Engine>(new Engine(std::move(state)));
}

Engine::Engine(std::unique_ptr<State> state) : state_(std::move(state)) {}
Engine::~Engine() = default;

Status Engine::run(wire::EnginePort& port) {
  State& state = *state_;
  Status status;
  while (!port.closed() && status.ok()) {
    state.take(port.receive(/*wait=*/state.sequences.empty(), /*deadline_ns=*/0));
    state.expire();
    if (!state.sequences.empty()) status = state.step();
    if (state.sequences.empty()) state.reserve.on_idle();
    state.load.running = state.options.max_running - static_cast<int>(state.free_slots.size());
    state.load.waiting = static_cast<std::int32_t>(state.sequences.size()) - state.load.running;
    state.load.pages_used = state.pool.held_count();
    port.publish_load(state.load);
    port.publish(std::exchange(state.outputs, {}));
  }
  const Status why =
      status.ok() ? Status(Code::kUnavailable, "the instance is shutting down") : status;
  state.abort_all(why);
  port.publish(std::exchange(state.outputs, {}));
  port.end(why);
  return status;
}

}  // namespace fathom::engine
