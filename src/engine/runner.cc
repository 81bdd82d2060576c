#include "engine/runner.h"

#include <algorithm>
#include <array>
#include <deque>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"
#include "config/kv_layout.h"
#include "engine/adjust_io.h"
#include "engine/drafter.h"
#include "engine/step_io.h"
#include "ops/sample.h"

namespace fathom::engine {

namespace {

// A step that was launched, or memory for one.
struct Slot {
  Buffer inputs;       // of the host
  Buffer late_inputs;  // of the host
  StepOutputs outputs;
  std::unique_ptr<Event> done;
  std::vector<Work> work;
  LogitRows chosen;
  std::int64_t drawers = 0;  // works that draw; of a graph, as many as it has
  bool graph = false;        // whether it ran as one
  bool drafts = false;       // whether the draft layer ran
  std::int64_t draft_ns = 0;
};

// A captured step of some requests that decode: the model as far as its logits, and what the draft
// layer makes of the draws.
struct DecodeGraph {
  std::unique_ptr<Graph> graph;
  model::StepOutput output;
  std::unique_ptr<Graph> draft_graph;  // where there is a draft layer
};

// A step between begin() and draw().
struct Begun {
  StepInputs inputs;
  model::StepOutput output;
  std::int32_t max_position = 0;
  const DecodeGraph* graph = nullptr;
};

// The graphs of one batch size.
struct GraphPair {
  std::int32_t batch = 0;
  DecodeGraph whole;     // for contexts that are attended to as a whole
  DecodeGraph selected;  // for those that are selected from
};

}  // namespace

struct Runner::State {
  const config::ModelConfig& config;
  model::Model& model;
  cache::KvStore& store;
  const ops::OpSet& ops;
  Device& device;
  RunnerOptions options;
  std::unique_ptr<Stream> stream;

  InputArena arena;
  InputArena late_arena;
  Buffer page_table;      // i32 [sequences, pages of a sequence]
  Buffer drawn;           // i32 [logit rows]: the tokens of the last step
  Buffer logprob;         // f32 [logit rows]
  Buffer top_ids;         // i32 [logit rows * kMaxTopLogprobs], flat
  Buffer top_logprobs;    // f32, the same
  Buffer asked_logprobs;  // f32 [logit rows * kMaxAskedLogprobs], flat

  std::array<Slot, kMaxUnderWay> slots;
  std::size_t next_slot = 0;
  std::size_t under_way = 0;
  PageTable table;
  std::unique_ptr<Drafter> drafter;  // null: no drafts
  std::vector<model::Segment> segments;
  std::vector<GraphPair> graphs;  // ascending batches
  std::optional<Begun> begun;
  AdjustedRows adjusted;  // of the last step
  grammar::MaskFiller mask_filler{config.vocab_size, options.mask_threads};

  std::int32_t drawable() const { return options.drawable(config.vocab_size); }
  model::Batch batch_of(const StepInputs& inputs, std::int32_t max_position) const;
  // Enqueues what a graph can hold: tokens of the step before, the model.
  Result<model::StepOutput> compute(const StepInputs& inputs, const model::Batch& batch);
  void adjust(Slot& slot, const TensorView& logits);
  void sample(const StepInputs& inputs, const TensorView& logits, std::int64_t drawing);
  void score(const StepInputs& inputs, const LogitRows& chosen, const TensorView& logits);
  void download(const Buffer& from, void* to, std::int64_t numbers);
  // The rows of `work` together; leaves them in `segments`.
  struct Extent {
    std::int64_t rows = 0;
    std::int32_t max_position = 0;
  };
  // `rows_of_each`: each work has so many, some of them padding; 0: its own.
  Extent lay_rows(std::span<Work> work, std::int32_t rows_of_each);
  // Of the last step that was drawn from.
  Slot& last_slot() { return slots[(next_slot + kMaxUnderWay - 1) % kMaxUnderWay]; }
  // `slot` is of the step after the one that made `leading`: its rows are where they are now known
  // to be.
  static void settle_followers(const StepResult& leading, Slot& slot);
  void apply_updates(const StepInputs& inputs);
  void download_results(const Slot& slot);
  const GraphPair* graphs_for(std::span<const Work> work) const;
  Result<DecodeGraph> capture(std::int32_t batch, std::int32_t max_position);
};

model::Batch Runner::State::batch_of(const StepInputs& inputs, std::int32_t max_position) const {
  model::Batch batch;
  batch.ids = inputs.ids.view;
  batch.tokens.positions = inputs.positions.view;
  batch.tokens.sequences = inputs.sequences.view;
  batch.tokens.page_table =
      page_table.view(DType::kI32, {options.max_sequences, options.pages_of_sequence()});
  batch.logit_rows = inputs.logit_rows.view;
  batch.max_position = max_position;
  return batch;
}

Result<model::StepOutput> Runner::State::compute(const StepInputs& inputs,
                                                 const model::Batch& batch) {
  ops::FillIdsArgs fill{inputs.ids.view, drawn.view(DType::kI32, {options.max_logit_rows})};
  require_valid(fill);
  ops.fill_ids(*stream, fill);
  return model.forward(*stream, batch, store);
}

void Runner::State::adjust(Slot& slot, const TensorView& logits) {
  AdjustInputs::choose(slot.work, slot.chosen, adjusted);
  if (adjusted.rows.empty()) return;
  late_arena.begin(slot.late_inputs);
  const AdjustInputs inputs =
      AdjustInputs::fill(late_arena, adjusted, config.vocab_size, mask_filler);
  late_arena.upload(*stream);
  const ops::AdjustLogitsArgs args = inputs.args(logits.rows(0, slot.chosen.drawing));
  require_valid(args);
  ops.adjust_logits(*stream, args);
}

void Runner::State::sample(const StepInputs& inputs,
                           const TensorView& logits,
                           std::int64_t drawing) {
  if (drawing == 0) return;
  ops::SampleArgs args;
  args.logits = logits.rows(0, drawing).columns(0, drawable());
  args.temperature = inputs.temperature.view.rows(0, drawing);
  args.top_k = inputs.top_k.view.rows(0, drawing);
  args.top_p = inputs.top_p.view.rows(0, drawing);
  args.min_p = inputs.min_p.view.rows(0, drawing);
  args.seed = inputs.seed.view.rows(0, drawing);
  args.sample = inputs.sample.view.rows(0, drawing);
  args.position = inputs.drawn_position.view.rows(0, drawing);
  args.token = drawn.view(DType::kI32, {drawing});
  if (options.drafts > 0) args.draft = inputs.draft.view.rows(0, drawing);
  args.accept_threshold_single = options.accept_threshold_single;
  args.accept_threshold_acc = options.accept_threshold_acc;
  require_valid(args);
  ops.sample(*stream, args);
}

void Runner::State::score(const StepInputs& inputs,
                          const LogitRows& chosen,
                          const TensorView& logits) {
  const std::int64_t rows = chosen.count();
  // Positions that are already known tell the log-probability of their own token.
  device.copy_to_device(*stream, static_cast<std::int32_t*>(drawn.data()) + chosen.drawing,
                        inputs.known_token.host,
                        static_cast<std::size_t>(rows - chosen.drawing) * sizeof(std::int32_t));
  ops::LogprobsArgs args;
  args.logits = logits.rows(0, rows).columns(0, drawable());
  args.temperature = inputs.temperature.view.rows(0, rows);
  args.token = drawn.view(DType::kI32, {rows});
  args.logprob = logprob.view(DType::kF32, {rows});
  if (chosen.top > 0) {
    args.top_ids = top_ids.view(DType::kI32, {rows, chosen.top});
    args.top_logprobs = top_logprobs.view(DType::kF32, {rows, chosen.top});
  }
  if (chosen.asked > 0) {
    args.asked = inputs.asked.view;
    args.asked_logprobs = asked_logprobs.view(DType::kF32, {rows, chosen.asked});
  }
  require_valid(args);
  ops.logprobs(*stream, args);
}

void Runner::State::download(const Buffer& from, void* to, std::int64_t numbers) {
  if (numbers == 0) return;
  device.copy_to_host(*stream, to, from.data(),
                      static_cast<std::size_t>(numbers) * sizeof(std::int32_t));
}

// The graphs of the smallest batch that holds `work`, when all of its rows draw.
const GraphPair* Runner::State::graphs_for(std::span<const Work> work) const {
  const auto size = static_cast<std::int32_t>(work.size());
  if (graphs.empty() || size > graphs.back().batch) return nullptr;
  for (const Work& each : work) {
    if (each.rows != each.draws_of()) return nullptr;
  }
  const auto found = std::find_if(graphs.begin(), graphs.end(),
                                  [size](const GraphPair& pair) { return pair.batch >= size; });
  return options.pad_graphs || found->batch == size ? &*found : nullptr;
}

Runner::State::Extent Runner::State::lay_rows(std::span<Work> work, std::int32_t rows_of_each) {
  Extent extent;
  segments.clear();
  for (Work& each : work) {
    FATHOM_CHECK(rows_of_each == 0 || each.rows <= rows_of_each);
    each.first_row = static_cast<std::int32_t>(extent.rows);
    segments.push_back({each.sequence->slot, each.first_row, each.rows, each.first + each.rows});
    extent.rows += std::max(each.rows, rows_of_each);
    extent.max_position = std::max(extent.max_position, each.first + each.ahead + each.rows - 1);
  }
  FATHOM_CHECK(extent.rows <= options.max_rows);
  return extent;
}

void Runner::State::settle_followers(const StepResult& leading, Slot& slot) {
  std::vector<std::int32_t> right;  // of each that drew
  for (std::size_t i = 0; i < leading.work.size(); ++i) {
    if (!leading.work[i].draws) continue;
    right.push_back(static_cast<std::int32_t>(leading.results[i].tokens.size()) - 1);
  }
  std::size_t draw = 0;
  for (Work& each : slot.work) {
    const std::int32_t further = each.leader < 0 ? 0 : right[static_cast<std::size_t>(each.leader)];
    each.first += further;
    each.ahead = 0;
    for (std::int32_t i = 0; i < each.draws_of(); ++i) slot.chosen.rows[draw++].position += further;
  }
}

void Runner::State::apply_updates(const StepInputs& inputs) {
  if (table.waiting().empty()) return;
  const ops::ScatterArgs args{inputs.cell.view, inputs.page.view,
                              page_table.view(DType::kI32, {options.page_table_cells()})};
  require_valid(args);
  ops.scatter(*stream, args);
  table.clear_waiting();
}

void Runner::State::download_results(const Slot& slot) {
  const LogitRows& chosen = slot.chosen;
  const StepOutputs& to = slot.outputs;
  const std::int64_t rows = chosen.count();
  download(drawn, to.token, chosen.scored ? rows : chosen.drawing);
  if (slot.drafts) {
    download(drafter->drafted(), to.draft, options.drafts * slot.drawers);
    download(drafter->accepted(), to.accepted, slot.drawers);
  }
  if (!chosen.scored) return;
  download(logprob, to.logprob, rows);
  download(top_ids, to.top_ids, rows * chosen.top);
  download(top_logprobs, to.top_logprobs, rows * chosen.top);
  download(asked_logprobs, to.asked_logprobs, rows * chosen.asked);
}

// The batch has padding alone, so the run before the capture, in which the device may still load
// code, touches no cache.
Result<DecodeGraph> Runner::State::capture(std::int32_t batch, std::int32_t max_position) {
  Slot& slot = slots[next_slot];
  arena.begin(slot.inputs);
  const std::int64_t rows = std::int64_t{batch} * (1 + options.drafts);
  StepInputs inputs = StepInputs::lay_out(arena, {rows, rows, batch, options.drafts > 0});
  inputs.fill({}, {});
  if (options.drafts > 0) inputs.fill_drafts({}, {});
  arena.upload(*stream);
  const model::Batch padding = batch_of(inputs, max_position);
  DecodeGraph made;
  const auto enqueue = [&]() -> Status {
    const Result<model::StepOutput> output = compute(inputs, padding);
    if (output.ok()) made.output = *output;
    return output.status();
  };
  FATHOM_RETURN_IF_ERROR(enqueue());
  FATHOM_RETURN_IF_ERROR(stream->synchronize());
  auto graph = device.capture(*stream, enqueue);
  FATHOM_RETURN_IF_ERROR(graph.status());
  FATHOM_RETURN_IF_ERROR(stream->synchronize());
  made.graph = std::move(graph).value();
  if (options.drafts == 0) return made;
  const auto enqueue_draft = [&] {
    return drafter->draft(*stream, inputs, padding, drawn, made.output.hidden);
  };
  FATHOM_RETURN_IF_ERROR(enqueue_draft());
  FATHOM_RETURN_IF_ERROR(stream->synchronize());
  auto draft_graph = device.capture(*stream, enqueue_draft);
  FATHOM_RETURN_IF_ERROR(draft_graph.status());
  FATHOM_RETURN_IF_ERROR(stream->synchronize());
  made.draft_graph = std::move(draft_graph).value();
  return made;
}

Result<std::unique_ptr<Runner>> Runner::create(const config::ModelConfig& config,
                                               model::Model& model,
                                               cache::KvStore& store,
                                               const ops::OpSet& ops,
                                               Device& device,
                                               const RunnerOptions& options) {
  FATHOM_CHECK(options.max_rows <= model.options().max_tokens);
  FATHOM_CHECK(options.max_logit_rows <= model.options().max_logit_rows);
  FATHOM_CHECK(options.context_tokens <= model.options().max_positions);
  FATHOM_CHECK(options.max_sequences > 0);
  FATHOM_CHECK(options.graph_batches.empty() || device.captures_graphs());
  const auto logit_rows = static_cast<std::size_t>(options.max_logit_rows);
  const std::size_t input_bytes = StepInputs::bytes(options);
  Status failed;
  const auto allocate = [&](std::size_t numbers) {
    Result<Buffer> made = device.allocate(numbers * sizeof(std::int32_t));
    if (!made.ok() && failed.ok()) failed = made.status();
    return made.ok() ? std::move(made).value() : Buffer();
  };
  Result<InputArena> arena = InputArena::create(device, input_bytes);
  FATHOM_RETURN_IF_ERROR(arena.status().in("the engine's step buffers"));
  const std::size_t late_bytes = AdjustInputs::bytes(options, config.vocab_size, store.pages());
  Result<InputArena> late_arena = InputArena::create(device, late_bytes);
  FATHOM_RETURN_IF_ERROR(late_arena.status().in("the engine's step buffers"));
  Buffer page_table = allocate(static_cast<std::size_t>(options.page_table_cells()));
  Buffer drawn = allocate(logit_rows);
  Buffer logprob = allocate(logit_rows);
  Buffer top_ids = allocate(logit_rows * kMaxTopLogprobs);
  Buffer top_logprobs = allocate(logit_rows * kMaxTopLogprobs);
  Buffer asked_logprobs = allocate(logit_rows * kMaxAskedLogprobs);
  FATHOM_RETURN_IF_ERROR(failed.in("the engine's step buffers"));
  std::unique_ptr<Drafter> drafter;
  if (options.drafts > 0) {
    auto made = Drafter::create(config, model, store, ops, device, options);
    FATHOM_RETURN_IF_ERROR(made.status().in("the engine's step buffers"));
    drafter = std::move(made).value();
  }
  auto state = std::unique_ptr<State>(new State{config,
                                                model,
                                                store,
                                                ops,
                                                device,
                                                options,
                                                device.create_stream(),
                                                std::move(arena).value(),
                                                std::move(late_arena).value(),
                                                std::move(page_table),
                                                std::move(drawn),
                                                std::move(logprob),
                                                std::move(top_ids),
                                                std::move(top_logprobs),
                                                std::move(asked_logprobs),
                                                {},
                                                0,
                                                0,
                                                PageTable(options.page_table_cells()),
                                                std::move(drafter),
                                                {},
                                                {},
                                                {},
                                                {}});
  ops.prepare(*state->stream);
  FATHOM_RETURN_IF_ERROR(state->stream->synchronize().in("the engine's step buffers"));
  for (Slot& slot : state->slots) {
    Result<Buffer> inputs = device.allocate_host(input_bytes);
    FATHOM_RETURN_IF_ERROR(inputs.status().in("the engine's step buffers"));
    slot.inputs = std::move(inputs).value();
    Result<Buffer> late_inputs = device.allocate_host(late_bytes);
    FATHOM_RETURN_IF_ERROR(late_inputs.status().in("the engine's step buffers"));
    slot.late_inputs = std::move(late_inputs).value();
    Result<StepOutputs> outputs = StepOutputs::create(device, options);
    FATHOM_RETURN_IF_ERROR(outputs.status().in("the engine's step buffers"));
    slot.outputs = std::move(outputs).value();
    slot.done = device.create_event();
  }
  return std::unique_ptr<Runner>(new Runner(std::move(state)));
}

Runner::Runner(std::unique_ptr<State> state) : state_(std::move(state)) {}

Runner::~Runner() { static_cast<void>(state_->stream->synchronize()); }

Status Runner::capture_graphs() {
  State& state = *state_;
  FATHOM_CHECK(state.under_way == 0);
  const std::int32_t last_position = state.options.context_tokens - 1;
  const std::int32_t topk = state.config.index_topk;
  for (const std::int32_t batch : state.options.graph_batches) {
    const std::int32_t rows = batch * (1 + state.options.drafts);
    FATHOM_CHECK(rows <= state.options.max_rows && rows <= state.options.max_logit_rows);
    GraphPair pair;
    pair.batch = batch;
    auto whole = state.capture(batch, std::min(last_position, topk - 1));
    FATHOM_RETURN_IF_ERROR(whole.status());
    pair.whole = std::move(whole).value();
    if (last_position >= topk) {
      auto selected = state.capture(batch, last_position);
      FATHOM_RETURN_IF_ERROR(selected.status());
      pair.selected = std::move(selected).value();
    }
    state.graphs.push_back(std::move(pair));
  }
  return {};
}

void Runner::update_pages(const Sequence& sequence, std::size_t from) {
  State& state = *state_;
  const std::int64_t width = state.options.pages_of_sequence();
  FATHOM_CHECK(sequence.slot >= 0 && sequence.slot < state.options.max_sequences);
  FATHOM_CHECK(static_cast<std::int64_t>(sequence.pages.size()) <= width);
  for (std::size_t i = from; i < sequence.pages.size(); ++i) {
    state.table.set(sequence.slot * width + static_cast<std::int64_t>(i), sequence.pages[i]);
  }
}

Status Runner::begin(std::vector<Work> work, bool drafts) {
  State& state = *state_;
  FATHOM_CHECK(state.under_way < kMaxUnderWay && !state.begun);
  Slot& slot = state.slots[state.next_slot];
  slot.work = std::move(work);
  const GraphPair* const pair = state.graphs_for(slot.work);
  slot.graph = pair != nullptr;
  slot.drafts = drafts && state.drafter != nullptr;
  FATHOM_CHECK(slot.drafts || (std::none_of(slot.work.begin(), slot.work.end(),
                                            [](const Work& each) { return each.drafts > 0; }) &&
                               (state.drafter == nullptr || pair == nullptr)));
  const State::Extent extent =
      state.lay_rows(slot.work, pair != nullptr ? 1 + state.options.drafts : 0);
  choose_logit_rows(slot.work, state.drawable(), slot.chosen);
  const LogitRows& chosen = slot.chosen;
  FATHOM_CHECK(chosen.count() <= state.options.max_logit_rows);
  StepInputs::Sizes sizes{extent.rows, chosen.count(), chosen.drawers, state.drafter != nullptr};
  if (pair != nullptr) {
    sizes.rows = std::int64_t{pair->batch} * (1 + state.options.drafts);
    sizes.logit_rows = sizes.rows;
    sizes.drawers = pair->batch;
  }

  slot.drawers = sizes.drawers;
  state.arena.begin(slot.inputs);
  StepInputs inputs = StepInputs::lay_out(state.arena, sizes);
  inputs.fill(slot.work, chosen);
  if (state.drafter) inputs.fill_drafts(slot.work, chosen);
  const bool follows = state.drafter && inputs.take_followers(state.arena, slot.work);
  if (chosen.scored) inputs.take_scores(state.arena, slot.work, chosen, state.drawable());
  inputs.take_updates(state.arena, state.table);
  state.arena.upload(*state.stream);
  state.apply_updates(inputs);
  if (follows) {  // the drafter's last results, which must be those of the step before
    FATHOM_CHECK(state.last_slot().drafts);
    state.drafter->advance(*state.stream, inputs, state.last_slot().drawers);
  }
  Begun begun{inputs, {}, extent.max_position, nullptr};
  if (pair != nullptr) {
    const bool whole = extent.max_position < state.config.index_topk;
    begun.graph = whole ? &pair->whole : &pair->selected;
    begun.graph->graph->launch(*state.stream);
    begun.output = begun.graph->output;
  } else {
    model::Batch batch = state.batch_of(inputs, extent.max_position);
    batch.segments = state.segments;
    const Result<model::StepOutput> computed = state.compute(inputs, batch);
    FATHOM_RETURN_IF_ERROR(computed.status());
    begun.output = *computed;
  }
  state.begun = begun;
  return {};
}

void Runner::draw() {
  State& state = *state_;
  FATHOM_CHECK(state.begun);
  const Begun begun = *state.begun;
  state.begun.reset();
  const StepInputs& inputs = begun.inputs;
  const TensorView& logits = begun.output.logits;
  Slot& slot = state.slots[state.next_slot];
  state.adjust(slot, logits);
  state.sample(inputs, logits, slot.chosen.drawing);
  if (slot.chosen.scored) state.score(inputs, slot.chosen, logits);
  const std::int64_t drafts_begin = now_ns();
  if (begun.graph != nullptr && begun.graph->draft_graph != nullptr) {
    begun.graph->draft_graph->launch(*state.stream);
  } else if (slot.drafts) {
    model::Batch batch = state.batch_of(inputs, begun.max_position);
    batch.segments = state.segments;
    const Status drafted =
        state.drafter->draft(*state.stream, inputs, batch, state.drawn, begun.output.hidden);
    // It has the same rows as the model's part, which fitted.
    FATHOM_CHECK_MSG(drafted.ok(), drafted.message());
  }
  slot.draft_ns = now_ns() - drafts_begin;
  state.download_results(slot);
  slot.done->record(*state.stream);
  state.next_slot = (state.next_slot + 1) % kMaxUnderWay;
  ++state.under_way;
}

std::size_t Runner::under_way() const { return state_->under_way; }

bool Runner::launched_graph() const { return state_->last_slot().graph; }

Result<StepResult> Runner::collect() {
  State& state = *state_;
  FATHOM_CHECK(state.under_way > 0);
  Slot& slot = state.slots[(state.next_slot + kMaxUnderWay - state.under_way) % kMaxUnderWay];
  --state.under_way;
  FATHOM_RETURN_IF_ERROR(slot.done->wait());
  StepResult result;
  result.work = std::move(slot.work);
  result.results.resize(result.work.size());
  const LogitRows& chosen = slot.chosen;
  slot.outputs.read_draws(slot.drafts ? state.options.drafts : 0, slot.drawers, result);
  result.draft_seconds = static_cast<double>(slot.draft_ns) * 1e-9;
  if (state.drafter && state.under_way > 0) {
    state.settle_followers(result, state.last_slot());
  } else if (state.drafter && state.begun) {
    state.settle_followers(result, state.slots[state.next_slot]);
  }
  if (!chosen.scored) return result;
  // Known positions come before the drawn ones: the rows that draw are read last.
  const auto tell = [&](std::int64_t index) {
    const std::size_t at = chosen.rows[static_cast<std::size_t>(index)].work;
    const Work& work = result.work[at];
    if (!work.sequence->request.logprobs.wanted) return;
    result.results[at].logprobs.push_back(slot.outputs.read(work, chosen, index, state.drawable()));
  };
  for (std::int64_t i = chosen.drawing; i < chosen.count(); ++i) tell(i);
  std::int64_t draw = 0;
  for (std::size_t i = 0; i < result.work.size(); ++i) {
    for (std::int64_t k = 0; k < std::ssize(result.results[i].tokens); ++k) tell(draw + k);
    draw += result.work[i].draws_of();
  }
  return result;
}

}  // namespace fathom::engine
