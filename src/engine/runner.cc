#include "engine/runner.h"

#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "config/kv_layout.h"
#include "engine/staging.h"
#include "ops/sample.h"

namespace fathom::engine {

struct Runner::State {
  const config::ModelConfig& config;
  model::Model& model;
  cache::KvStore& store;
  const ops::OpSet& ops;
  RunnerOptions options;
  std::unique_ptr<Stream> stream;

  // Inputs of the model.
  Staging<std::int32_t> ids;         // [rows]
  Staging<std::int32_t> positions;   // [rows]
  Staging<std::int32_t> sequences;   // [rows]
  Staging<std::int32_t> logit_rows;  // [logit rows]
  Staging<std::int32_t> page_table;  // [sequences, pages of a sequence]
  std::vector<model::Segment> segments;

  // Inputs and results of the draw, per logit row.
  Staging<float> temperature;
  Staging<std::int32_t> top_k;
  Staging<float> top_p;
  Staging<float> min_p;
  Staging<std::int32_t> seed;  // [logit rows, 2]
  Staging<std::int32_t> sample;
  Staging<std::int32_t> drawn_position;
  Staging<std::int32_t> token;
  Staging<float> logprob;
  Staging<std::int32_t> top_ids;  // [logit rows * kMaxTopLogprobs], flat
  Staging<float> top_logprobs;
  Staging<std::int32_t> asked;  // [logit rows * kMaxAskedLogprobs], flat
  Staging<float> asked_logprobs;

  // One row of logits: which work it belongs to, and the position whose token it foretells.
  struct LogitRow {
    std::size_t work = 0;
    std::int32_t row = 0;  // of the step
    std::int32_t position = 0;
  };
  std::vector<LogitRow> wanted;  // those that draw come first
  std::int64_t drawing = 0;

  model::Batch lay_out(std::span<const Work> work);
  void choose_logit_rows(std::span<const Work> work);
  void draw(std::span<const Work> work, const TensorView& logits);
  bool wants_logprobs(std::span<const Work> work) const;
  // Enqueues the log-probabilities of all logit rows; gives how many of each kind a row has.
  struct Widths {
    std::int32_t top = 0;
    std::int32_t asked = 0;
  };
  Widths score(std::span<const Work> work, const TensorView& logits);
  wire::PositionLogprobs read(const Work& work, std::int64_t row, Widths widths);
};

model::Batch Runner::State::lay_out(std::span<const Work> work) {
  std::int32_t row = 0;
  std::int32_t max_position = 0;
  segments.clear();
  for (const Work& each : work) {
    const Sequence& sequence = *each.sequence;
    FATHOM_CHECK(sequence.slot >= 0 && sequence.slot < options.max_sequences);
    FATHOM_CHECK(each.rows > 0 && row + each.rows <= options.max_rows);
    FATHOM_CHECK(each.first + each.rows <= sequence.known());
    segments.push_back({sequence.slot, row, each.rows, each.first + each.rows});
    for (std::int32_t i = 0; i < each.rows; ++i, ++row) {
      const std::int32_t position = each.first + i;
      ids.at(row) = sequence.tokens[static_cast<std::size_t>(position)];
      positions.at(row) = position;
      sequences.at(row) = sequence.slot;
    }
    max_position = std::max(max_position, each.first + each.rows - 1);
  }
  ids.upload(*stream, 0, row);
  positions.upload(*stream, 0, row);
  sequences.upload(*stream, 0, row);

  const auto logits = static_cast<std::int64_t>(wanted.size());
  for (std::int64_t i = 0; i < logits; ++i) {
    logit_rows.at(i) = wanted[static_cast<std::size_t>(i)].row;
  }
  logit_rows.upload(*stream, 0, logits);

  model::Batch batch;
  batch.ids = ids.flat(0, row);
  batch.tokens.positions = positions.flat(0, row);
  batch.tokens.sequences = sequences.flat(0, row);
  batch.tokens.page_table = page_table.rows(0, options.max_sequences);
  batch.logit_rows = logit_rows.flat(0, logits);
  batch.max_position = max_position;
  batch.segments = segments;
  return batch;
}

void Runner::State::choose_logit_rows(std::span<const Work> work) {
  wanted.clear();
  std::int32_t row = 0;
  for (std::size_t i = 0; i < work.size(); ++i) {
    row += work[i].rows;
    if (work[i].draws()) wanted.push_back({i, row - 1, work[i].first + work[i].rows});
  }
  drawing = static_cast<std::int64_t>(wanted.size());
  row = 0;
  for (std::size_t i = 0; i < work.size(); ++i) {
    const Work& each = work[i];
    row += each.rows;
    FATHOM_CHECK(!each.draws() || each.logit_rows >= 1);
    const std::int32_t scored = each.logit_rows - (each.draws() ? 1 : 0);
    const std::int32_t end = each.draws() ? row - 1 : row;
    const std::int32_t end_position = each.first + each.rows - (each.draws() ? 1 : 0);
    for (std::int32_t back = scored; back > 0; --back) {
      wanted.push_back({i, end - back, end_position - back + 1});
    }
  }
  FATHOM_CHECK(static_cast<std::int32_t>(wanted.size()) <= options.max_logit_rows);
}

void Runner::State::draw(std::span<const Work> work, const TensorView& logits) {
  const auto rows = static_cast<std::int64_t>(wanted.size());
  for (std::int64_t i = 0; i < rows; ++i) {
    const LogitRow& row = wanted[static_cast<std::size_t>(i)];
    const Sequence& sequence = *work[row.work].sequence;
    const wire::SamplingParams& sampling = sequence.request.sampling;
    temperature.at(i) = sampling.temperature;
    top_k.at(i) = sampling.top_k;
    top_p.at(i) = sampling.top_p;
    min_p.at(i) = sampling.min_p;
    seed.row(i)[0] = static_cast<std::int32_t>(sampling.seed & 0xFFFFFFFFU);
    seed.row(i)[1] = static_cast<std::int32_t>(sampling.seed >> 32U);
    sample.at(i) = static_cast<std::int32_t>(sampling.sample);
    drawn_position.at(i) = row.position;
    // Positions that are already known tell the log-probability of their own token.
    token.at(i) = i < drawing ? 0 : sequence.tokens[static_cast<std::size_t>(row.position)];
  }
  temperature.upload(*stream, 0, rows);
  token.upload(*stream, drawing, rows - drawing);
  if (drawing == 0) return;
  top_k.upload(*stream, 0, drawing);
  top_p.upload(*stream, 0, drawing);
  min_p.upload(*stream, 0, drawing);
  seed.upload(*stream, 0, drawing);
  sample.upload(*stream, 0, drawing);
  drawn_position.upload(*stream, 0, drawing);
  ops::SampleArgs args;
  args.logits = logits.rows(0, drawing);
  args.temperature = temperature.flat(0, drawing);
  args.top_k = top_k.flat(0, drawing);
  args.top_p = top_p.flat(0, drawing);
  args.min_p = min_p.flat(0, drawing);
  args.seed = seed.rows(0, drawing);
  args.sample = sample.flat(0, drawing);
  args.position = drawn_position.flat(0, drawing);
  args.token = token.flat(0, drawing);
  const Status valid = ops::validate(args);
  FATHOM_CHECK_MSG(valid.ok(), valid.message());
  ops.sample(*stream, args);
}

bool Runner::State::wants_logprobs(std::span<const Work> work) const {
  return std::any_of(wanted.begin(), wanted.end(), [&](const LogitRow& row) {
    return work[row.work].sequence->request.logprobs.wanted;
  });
}

Runner::State::Widths Runner::State::score(std::span<const Work> work, const TensorView& logits) {
  Widths widths;
  for (const LogitRow& row : wanted) {
    const wire::LogprobParams& params = work[row.work].sequence->request.logprobs;
    if (!params.wanted) continue;
    widths.top = std::max(widths.top, params.top);
    widths.asked = std::max(widths.asked, static_cast<std::int32_t>(params.token_ids.size()));
  }
  widths.top = std::min(widths.top, config.vocab_size);
  FATHOM_CHECK(widths.top <= kMaxTopLogprobs && widths.asked <= kMaxAskedLogprobs);
  const auto rows = static_cast<std::int64_t>(wanted.size());
  for (std::int64_t i = 0; i < rows; ++i) {
    const auto& ids_asked =
        work[wanted[static_cast<std::size_t>(i)].work].sequence->request.logprobs.token_ids;
    for (std::int32_t j = 0; j < widths.asked; ++j) {
      const auto index = static_cast<std::size_t>(j);
      asked.at(i * widths.asked + j) = index < ids_asked.size() ? ids_asked[index] : -1;
    }
  }
  asked.upload(*stream, 0, rows * widths.asked);
  ops::LogprobsArgs args;
  args.logits = logits;
  args.temperature = temperature.flat(0, rows);
  args.token = token.flat(0, rows);
  args.logprob = logprob.flat(0, rows);
  const auto shaped = [&](const TensorView& flat, std::int32_t width) {
    return width == 0 ? TensorView() : TensorView(flat.data, flat.dtype, {rows, width});
  };
  args.top_ids = shaped(top_ids.flat(0, rows * widths.top), widths.top);
  args.top_logprobs = shaped(top_logprobs.flat(0, rows * widths.top), widths.top);
  args.asked = shaped(asked.flat(0, rows * widths.asked), widths.asked);
  args.asked_logprobs = shaped(asked_logprobs.flat(0, rows * widths.asked), widths.asked);
  const Status valid = ops::validate(args);
  FATHOM_CHECK_MSG(valid.ok(), valid.message());
  ops.logprobs(*stream, args);
  logprob.download(*stream, rows);
  top_ids.download(*stream, rows * widths.top);
  top_logprobs.download(*stream, rows * widths.top);
  asked_logprobs.download(*stream, rows * widths.asked);
  return widths;
}

wire::PositionLogprobs Runner::State::read(const Work& work, std::int64_t row, Widths widths) {
  const wire::LogprobParams& params = work.sequence->request.logprobs;
  wire::PositionLogprobs told;
  told.id = token.at(row);
  told.logprob = logprob.at(row);
  const std::int32_t top = std::min(params.top, widths.top);
  for (std::int32_t i = 0; i < top; ++i) {
    const std::int64_t at = row * widths.top + i;
    told.top.push_back({top_ids.at(at), top_logprobs.at(at)});
  }
  for (std::size_t i = 0; i < params.token_ids.size(); ++i) {
    told.asked.push_back({params.token_ids[i],
                          asked_logprobs.at(row * widths.asked + static_cast<std::int64_t>(i))});
  }
  return told;
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
  Status failed;
  const auto ints = [&](std::int64_t rows, std::int64_t width) {
    auto made = Staging<std::int32_t>::create(device, rows, width);
    if (!made.ok() && failed.ok()) failed = made.status();
    return made.ok() ? std::optional(std::move(made).value()) : std::nullopt;
  };
  const auto floats = [&](std::int64_t rows, std::int64_t width) {
    auto made = Staging<float>::create(device, rows, width);
    if (!made.ok() && failed.ok()) failed = made.status();
    return made.ok() ? std::optional(std::move(made).value()) : std::nullopt;
  };
  const std::int64_t rows = options.max_rows;
  const std::int64_t logit_rows = options.max_logit_rows;
  const std::int64_t pages = ceil_div(options.context_tokens, config::kPageTokens);
  auto ids = ints(rows, 1);
  auto positions = ints(rows, 1);
  auto sequences = ints(rows, 1);
  auto chosen = ints(logit_rows, 1);
  auto page_table = ints(options.max_sequences, pages);
  auto temperature = floats(logit_rows, 1);
  auto top_k = ints(logit_rows, 1);
  auto top_p = floats(logit_rows, 1);
  auto min_p = floats(logit_rows, 1);
  auto seed = ints(logit_rows, 2);
  auto sample = ints(logit_rows, 1);
  auto drawn_position = ints(logit_rows, 1);
  auto token = ints(logit_rows, 1);
  auto logprob = floats(logit_rows, 1);
  auto top_ids = ints(logit_rows * kMaxTopLogprobs, 1);
  auto top_logprobs = floats(logit_rows * kMaxTopLogprobs, 1);
  auto asked = ints(logit_rows * kMaxAskedLogprobs, 1);
  auto asked_logprobs = floats(logit_rows * kMaxAskedLogprobs, 1);
  FATHOM_RETURN_IF_ERROR(failed.in("the engine's step buffers"));
  auto state = std::unique_ptr<State>(new State{config,
                                                model,
                                                store,
                                                ops,
                                                options,
                                                device.create_stream(),
                                                std::move(*ids),
                                                std::move(*positions),
                                                std::move(*sequences),
                                                std::move(*chosen),
                                                std::move(*page_table),
                                                {},
                                                std::move(*temperature),
                                                std::move(*top_k),
                                                std::move(*top_p),
                                                std::move(*min_p),
                                                std::move(*seed),
                                                std::move(*sample),
                                                std::move(*drawn_position),
                                                std::move(*token),
                                                std::move(*logprob),
                                                std::move(*top_ids),
                                                std::move(*top_logprobs),
                                                std::move(*asked),
                                                std::move(*asked_logprobs),
                                                {},
                                                0});
  state->segments.reserve(static_cast<std::size_t>(options.max_sequences));
  state->wanted.reserve(static_cast<std::size_t>(logit_rows));
  return std::unique_ptr<Runner>(new Runner(std::move(state)));
}

Runner::Runner(std::unique_ptr<State> state) : state_(std::move(state)) {}
Runner::~Runner() = default;

void Runner::update_pages(const Sequence& sequence, std::size_t from) {
  State& state = *state_;
  FATHOM_CHECK(sequence.slot >= 0 && sequence.slot < state.options.max_sequences);
  FATHOM_CHECK(sequence.pages.size() <= static_cast<std::size_t>(state.page_table.width()));
  if (from >= sequence.pages.size()) return;
  std::int32_t* row = state.page_table.row(sequence.slot);
  std::copy(sequence.pages.begin() + static_cast<std::ptrdiff_t>(from), sequence.pages.end(),
            row + from);
  state.page_table.copy_elements_to_device(
      *state.stream, sequence.slot * state.page_table.width() + static_cast<std::int64_t>(from),
      static_cast<std::int64_t>(sequence.pages.size() - from));
}

Result<std::vector<WorkResult>> Runner::run(std::span<const Work> work) {
  State& state = *state_;
  state.choose_logit_rows(work);
  const model::Batch batch = state.lay_out(work);
  const Result<model::StepOutput> output = state.model.forward(*state.stream, batch, state.store);
  FATHOM_RETURN_IF_ERROR(output.status());

  std::vector<WorkResult> results(work.size());
  if (!state.wanted.empty()) state.draw(work, output->logits);
  State::Widths widths;
  const bool scored = state.wants_logprobs(work);
  if (scored) widths = state.score(work, output->logits);
  // Rows past those that draw were never on the device alone: the host's copies stay.
  state.token.download(*state.stream, state.drawing);
  FATHOM_RETURN_IF_ERROR(state.stream->synchronize());

  for (std::size_t i = 0; i < state.wanted.size(); ++i) {
    const State::LogitRow& row = state.wanted[i];
    const auto index = static_cast<std::int64_t>(i);
    if (index < state.drawing) results[row.work].token = state.token.at(index);
  }
  if (!scored) return results;
  // Known positions come before the drawn one: the rows that draw are read last.
  const auto tell = [&](std::int64_t index) {
    const State::LogitRow& row = state.wanted[static_cast<std::size_t>(index)];
    if (!work[row.work].sequence->request.logprobs.wanted) return;
    results[row.work].logprobs.push_back(state.read(work[row.work], index, widths));
  };
  for (auto i = state.drawing; i < static_cast<std::int64_t>(state.wanted.size()); ++i) tell(i);
  for (std::int64_t i = 0; i < state.drawing; ++i) tell(i);
  return results;
}

}  // namespace fathom::engine
