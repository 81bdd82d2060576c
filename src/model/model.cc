#include "model/model.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "model/rope_table.h"
#include "model/step.h"
#include "model/workspace.h"

namespace fathom::model {

struct Model::State {
  config::ModelConfig config;
  const Weights& weights;
  const ops::OpSet& ops;
  ModelOptions options;
  Workspace space;
  std::vector<std::int32_t> shifted_positions;  // for Mutation::kDraftShiftedPositions
};

namespace {

Status check_options(const config::ModelConfig& config, const ModelOptions& options) {
  if (options.max_tokens < 1 || options.max_logit_rows < 1 || options.max_positions < 1) {
    return invalid_argument("a model needs at least one token, logit row and position a step");
  }
  const std::int32_t dim = config.index_head_dim;
  if (options.arithmetic == config::Arithmetic::kDeployed && (dim & (dim - 1)) != 0) {
    return invalid_argument("index_head_dim is " + std::to_string(dim) +
                            ", deployed arithmetic needs a power of two (the Hadamard rotation); "
                            "use --arithmetic exact");
  }
  return {};
}

Status check_segment(const Batch& batch, const Segment& segment) {
  const TensorView& table = batch.tokens.page_table;
  if (segment.sequence < 0 || segment.sequence >= table.shape[0]) {
    return invalid_argument("sequence is " + std::to_string(segment.sequence) +
                            ", the page table has " + std::to_string(table.shape[0]));
  }
  const std::int64_t most = std::min<std::int64_t>(std::int64_t{batch.max_position} + 1,
                                                   table.shape[1] * config::kPageTokens);
  if (segment.visible >= 1 && segment.visible <= most) return {};
  return invalid_argument("visible is " + std::to_string(segment.visible) + ", expected 1 to " +
                          std::to_string(most));
}

// The expanded form's view of a batch: segments that cover its rows one after the other.
Status check_segments(const Batch& batch) {
  const std::int64_t tokens = batch.ids.shape[0];
  if (tokens > 0 && batch.segments.empty()) {
    return invalid_argument("a batch without segments; the expanded attention form needs them");
  }
  std::int64_t next = 0;
  for (std::size_t i = 0; i < batch.segments.size(); ++i) {
    const Segment& segment = batch.segments[i];
    const std::string where = "segment " + std::to_string(i);
    if (segment.first_row != next || segment.rows < 1) {
      return invalid_argument(where + ": rows are " + std::to_string(segment.rows) + " from " +
                              std::to_string(segment.first_row) + ", expected 1 or more from " +
                              std::to_string(next));
    }
    FATHOM_RETURN_IF_ERROR(check_segment(batch, segment).in(where));
    next += segment.rows;
  }
  if (next == tokens) return {};
  return invalid_argument("the segments cover " + std::to_string(next) + " rows of " +
                          std::to_string(tokens));
}

Status check_batch(const ModelOptions& options, const Batch& batch) {
  const std::int64_t tokens = batch.ids.shape[0];
  if (tokens > options.max_tokens) {
    return invalid_argument("a step of " + std::to_string(tokens) + " tokens, at most " +
                            std::to_string(options.max_tokens) + " fit");
  }
  if (batch.logit_rows.shape[0] > options.max_logit_rows) {
    return invalid_argument("logits of " + std::to_string(batch.logit_rows.shape[0]) +
                            " rows, at most " + std::to_string(options.max_logit_rows) + " fit");
  }
  if (batch.max_position >= options.max_positions) {
    return invalid_argument("position " + std::to_string(batch.max_position) +
                            ", positions end below " + std::to_string(options.max_positions));
  }
  if (options.attention_form == config::AttentionForm::kExpanded) return check_segments(batch);
  return {};
}

// One decoder layer up to its MLP's output in space.h; the residual stream is in space.residual.
// `x` is the layer's normed input.
void decoder_layer(const Step& step, std::int32_t layer, const LayerWeights& weights) {
  const TensorView residual = step.take(step.space.residual);
  const TensorView x = step.take(step.space.x);
  const TensorView h = step.take(step.space.h);
  if (step.probe != nullptr) step.probe->residual(layer, residual);
  attention_block(step, layer, weights.attention, x, h);
  run(step, &ops::OpSet::add_rms_norm,
      ops::AddRmsNormArgs{h, residual, weights.post_attention_norm, x, step.config.rms_norm_eps});
  mlp_block(step, layer, weights, x, h);
}

// Logits of the wanted rows of a normed hidden state.
TensorView head(const Step& step, const WeightView& weights, const TensorView& hidden) {
  const std::int64_t rows = step.batch.logit_rows.shape[0];
  const TensorView chosen = step.space.logit_hidden.rows(0, rows);
  const TensorView logits = step.space.logits.rows(0, rows);
  if (rows == 0) return logits;
  run(step, &ops::OpSet::gather_rows, ops::GatherRowsArgs{hidden, step.batch.logit_rows, chosen});
  run(step, &ops::OpSet::linear, ops::LinearArgs{{chosen, {}}, weights, logits});
  return logits;
}

}  // namespace

Result<std::unique_ptr<Model>> Model::create(const config::ModelConfig& config,
                                             const Weights& weights,
                                             const ops::OpSet& ops,
                                             Device& device,
                                             const ModelOptions& options) {
  FATHOM_RETURN_IF_ERROR(check_options(config, options));
  Result<Workspace> space = Workspace::create(config, options, device);
  FATHOM_RETURN_IF_ERROR(space.status());
  auto state = std::unique_ptr<State>(
      new State{config, weights, ops, options, std::move(space).value(), {}});
  const RopeTable table = make_rope_table(config, options.max_positions);
  const std::unique_ptr<Stream> stream = device.create_stream();
  device.copy_to_device(*stream, state->space.rope_cos.data, table.cos.data(),
                        table.cos.size() * sizeof(float));
  device.copy_to_device(*stream, state->space.rope_sin.data, table.sin.data(),
                        table.sin.size() * sizeof(float));
  FATHOM_RETURN_IF_ERROR(stream->synchronize());
  return std::unique_ptr<Model>(new Model(std::move(state)));
}

Model::Model(std::unique_ptr<State> state) : state_(std::move(state)) {}
Model::~Model() = default;

Result<StepOutput> Model::forward(Stream& stream,
                                  const Batch& batch,
                                  cache::KvStore& store,
                                  Probe* probe,
                                  Replay* replay) {
  FATHOM_RETURN_IF_ERROR(check_batch(state_->options, batch));
  const config::ModelConfig& config = state_->config;
  const Weights& weights = state_->weights;
  const Step step{config, state_->options, state_->ops, stream, state_->space,
                  batch,  store,           probe,       replay};
  const TensorView residual = step.take(step.space.residual);
  const TensorView x = step.take(step.space.x);
  const TensorView h = step.take(step.space.h);
  const TensorView hidden = step.take(step.space.hidden);

  run(step, &ops::OpSet::embed, ops::EmbedArgs{batch.ids, weights.embed, residual});
  for (std::int32_t i = 0; i < config.num_hidden_layers; ++i) {
    const LayerWeights& layer = weights.layers[static_cast<std::size_t>(i)];
    if (i == 0) {
      run(step, &ops::OpSet::rms_norm,
          ops::RmsNormArgs{residual, layer.attention.input_norm, x, config.rms_norm_eps});
    } else {
      run(step, &ops::OpSet::add_rms_norm,
          ops::AddRmsNormArgs{h, residual, layer.attention.input_norm, x, config.rms_norm_eps});
    }
    decoder_layer(step, i, layer);
  }
  run(step, &ops::OpSet::add_rms_norm,
      ops::AddRmsNormArgs{h, residual, weights.final_norm, hidden, config.rms_norm_eps});
  if (probe != nullptr) probe->residual(config.num_hidden_layers, hidden);
  const TensorView logits = head(step, weights.head, hidden);
  if (step.mutated_as(Mutation::kDraftPreNormHidden)) return StepOutput{residual, logits};
  return StepOutput{hidden, logits};
}

Result<StepOutput> Model::draft(Stream& stream,
                                const Batch& batch,
                                const TensorView& hidden,
                                cache::KvStore& store,
                                Probe* probe,
                                Replay* replay) {
  FATHOM_CHECK(state_->weights.draft != nullptr);
  FATHOM_RETURN_IF_ERROR(check_batch(state_->options, batch));
  const config::ModelConfig& config = state_->config;
  const DraftWeights& weights = *state_->weights.draft;
  Batch placed = batch;
  if (mutated(state_->options.mutation, Mutation::kDraftShiftedPositions)) {
    const auto* positions = batch.tokens.positions.row<std::int32_t>(0);
    state_->shifted_positions.assign(positions, positions + batch.ids.shape[0]);
    for (std::int32_t& position : state_->shifted_positions) ++position;
    placed.tokens.positions.data = state_->shifted_positions.data();
    ++placed.max_position;
  }
  const Step step{config, state_->options, state_->ops, stream, state_->space,
                  placed, store,           probe,       replay};
  const std::int64_t width = config.hidden_size;
  const TensorView residual = step.take(step.space.residual);
  const TensorView x = step.take(step.space.x);
  const TensorView h = step.take(step.space.h);
  const TensorView input = step.take(step.space.draft_input);
  const bool swapped = step.mutated_as(Mutation::kDraftHiddenFirst);
  const TensorView embedding_part = input.columns(swapped ? width : 0, width);
  const TensorView hidden_part = input.columns(swapped ? 0 : width, width);

  run(step, &ops::OpSet::rms_norm,
      ops::RmsNormArgs{hidden, weights.hidden_norm, hidden_part, config.rms_norm_eps});
  run(step, &ops::OpSet::embed, ops::EmbedArgs{batch.ids, state_->weights.embed, x});
  run(step, &ops::OpSet::rms_norm,
      ops::RmsNormArgs{x, weights.embed_norm, embedding_part, config.rms_norm_eps});
  run(step, &ops::OpSet::linear, ops::LinearArgs{{input, {}}, weights.project, residual});
  run(step, &ops::OpSet::rms_norm,
      ops::RmsNormArgs{residual, weights.layer.attention.input_norm, x, config.rms_norm_eps});
  decoder_layer(step, config.num_hidden_layers, weights.layer);
  const TensorView normed = step.take(step.space.draft_hidden);
  const TensorView norm =
      step.mutated_as(Mutation::kDraftMainNorm) ? state_->weights.final_norm : weights.final_norm;
  run(step, &ops::OpSet::add_rms_norm,
      ops::AddRmsNormArgs{h, residual, norm, normed, config.rms_norm_eps});
  const TensorView logits = head(step, state_->weights.head, normed);
  if (step.mutated_as(Mutation::kDraftRecyclesPreNorm)) return StepOutput{residual, logits};
  return StepOutput{normed, logits};
}

const ModelOptions& Model::options() const { return state_->options; }
std::int64_t Model::workspace_bytes() const { return state_->space.bytes(); }

}  // namespace fathom::model
