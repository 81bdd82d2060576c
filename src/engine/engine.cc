#include "engine/engine.h"

#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <utility>

#include "base/clock.h"
#include "config/kv_layout.h"
#include "engine/admission.h"
#include "engine/engine_state.h"

namespace fathom::engine {

namespace {

std::optional<cache::RadixIndex::Options> index_options(const EngineOptions& options) {
  if (!options.prefix_cache) return std::nullopt;
  cache::RadixIndex::Options index;
  index.page_tokens = config::kPageTokens;
  index.pairs = options.drafts > 0;
  index.eviction = options.eviction;
  index.seed = std::uint64_t{std::random_device()()} << 32U | std::random_device()();
  return index;
}

}  // namespace

Result<bool> Engine::State::launch() {
  at("plan a step");
  verifies = options.drafts > 0 && (!draft_switch || draft_switch->on());
  sched::StepPlan step_plan = plan();
  if (draft_switch && verifies && decodes_alone(step_plan)) {
    verifies = draft_switch->verifies(static_cast<std::int32_t>(step_plan.rows.size()));
    if (!verifies) step_plan = plan();
  }
  if (!step_plan.retract.empty() && options.drafts > 0 && runner->under_way() > 0) {
    // Perhaps they only might have been too long for the pool; and what is retracted has no
    // pending tokens.
    while (runner->under_way() > 0) FATHOM_RETURN_IF_ERROR(collect());
    at("plan a step");
    step_plan = plan();
  }
  if (step_plan.empty()) return false;
  if (draft_switch) step_began_ns = now_ns();  // a trial is planned twice
  account.begin(pages, reserve.ratio());
  const std::vector<Work> work = apply(step_plan);
  adjust_reserve(step_plan, work);
  at("launch a step");
  const bool drafting = chooses_drafting(step_plan);
  FATHOM_RETURN_IF_ERROR(runner->begin(work, drafting));
  const bool late = std::any_of(work.begin(), work.end(), [](const Work& each) {
    return each.draws && each.sequence->draws_late();
  });
  while (late && runner->under_way() > 0) FATHOM_RETURN_IF_ERROR(collect());
  at("draw");
  runner->draw();
  account.launched(work, runner->launched_graph(), sequences, pages, reserve.ratio(),
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
  std::int64_t tokens = 0;  // of answers that went on
  for (std::size_t i = 0; i < step->work.size(); ++i) {
    const std::int64_t before = load.generated_tokens;
    record(step->work[i], std::move(step->results[i]));
    if (step->work[i].decodes) tokens += load.generated_tokens - before;
  }
  if (draft_switch) time_step(*step, tokens);
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

void Engine::State::count_grammars() {
  if (options.compiler == nullptr) return;
  const grammar::CompilerCounts counts = options.compiler->counts();
  load.totals.grammar_requests = counts.requests;
  load.totals.grammar_cache_hits = counts.cache_hits;
  load.totals.grammar_failures = counts.failures;
  load.totals.grammar_timeouts = counts.timeouts;
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
  if (model.options().attention_form != config::AttentionForm::kAbsorbed) {
    FATHOM_CHECK_MSG(options.drafts == 0 || !options.overlap,
                     "the expanded attention form must know the rows of a step when it begins");
    FATHOM_CHECK_MSG(options.drafts <= 1,
                     "the expanded attention form has no segments of a chain's rows");
  }
  RunnerOptions runner_options;
  runner_options.max_rows = options.max_rows();
  runner_options.max_logit_rows = options.max_logit_rows();
  runner_options.max_sequences = options.max_running;
  runner_options.context_tokens = options.context_tokens;
  runner_options.graph_batches = options.graph_batches;
  runner_options.pad_graphs = options.pad_graphs;
  runner_options.drawable_tokens = options.first_unused_token;
  runner_options.drafts = options.drafts;
  runner_options.accept_threshold_single = options.accept_threshold_single;
  runner_options.accept_threshold_acc = options.accept_threshold_acc;
  runner_options.mask_threads = options.compiler != nullptr ? options.mask_threads : 1;
  auto runner = Runner::create(config, model, store, ops, device, runner_options);
  FATHOM_RETURN_IF_ERROR(runner.status());
  auto state =
      std::unique_ptr<State>(new State{config,
                                       options,
                                       SequencePages(store.pages(), index_options(options)),
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
                                       false,
                                       0,
                                       {},
                                       {},
                                       {},
                                       {},
                                       {},
                                       {}});
  if (options.drafts > 0 && options.draft_switch) {
    FATHOM_CHECK(!options.overlap && options.graph_batches.empty() && device.uses_host_memory());
    FATHOM_CHECK(options.accept_threshold_single >= 1 && options.accept_threshold_acc >= 1);
    state->draft_switch.emplace(*options.draft_switch);
  }
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

bool Engine::lacks_draft_rows(cache::PageId page) const {
  return state_->pages.lacks_draft_rows(page);
}

std::vector<cache::PageId> Engine::found_pages(const std::string& cache_namespace,
                                               std::span<const wire::TokenId> tokens) const {
  Sequence sequence;
  sequence.request.cache_namespace = cache_namespace;
  sequence.tokens.assign(tokens.begin(), tokens.end());
  return state_->pages.find(sequence, sequence.known() - 1).pages;
}

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
    state.account.fill(state.load, state.sequences, state.pages, state.reserve.ratio());
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
