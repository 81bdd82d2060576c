#include "engine/drafter.h"

#include <algorithm>
#include <utility>

#include "ops/sample.h"

namespace fathom::engine {

Result<std::unique_ptr<Drafter>> Drafter::create(const config::ModelConfig& config,
                                                 model::Model& model,
                                                 cache::KvStore& store,
                                                 const ops::OpSet& ops,
                                                 Device& device,
                                                 const RunnerOptions& options) {
  auto drafter = std::unique_ptr<Drafter>(new Drafter(config, model, store, ops, options));
  const auto rows = static_cast<std::size_t>(options.max_logit_rows);
  const auto drafts = static_cast<std::size_t>(options.drafts);
  const std::size_t chains = options.drafts > 1 ? rows : 0;
  const std::pair<Buffer*, std::size_t> sizes[] = {
      {&drafter->accepted_, rows},
      {&drafter->last_row_, rows},
      {&drafter->last_token_, rows},
      {&drafter->drafted_, rows * drafts},
      {&drafter->log_sum_, rows},
      {&drafter->chain_position_, chains},
      {&drafter->chain_sequence_, chains},
      {&drafter->chain_hidden_, chains * static_cast<std::size_t>(config.hidden_size)}};
  for (const auto& [buffer, numbers] : sizes) {
    Result<Buffer> made = device.allocate(numbers * sizeof(std::int32_t));
    FATHOM_RETURN_IF_ERROR(made.status());
    *buffer = std::move(made).value();
  }
  return drafter;
}

Status Drafter::draft(Stream& stream,
                      const StepInputs& inputs,
                      model::Batch batch,
                      const Buffer& drawn,
                      const TensorView& hidden) {
  ops::AcceptDraftsArgs accept;
  accept.first = inputs.first_draw.view;
  accept.drawn = drawn.view(DType::kI32, {inputs.logit_row_count});
  accept.draft = inputs.draft.view;
  accept.row = inputs.logit_rows.view;
  accept.accepted = accepted_.view(DType::kI32, {inputs.drawers});
  accept.last = last_row_.view(DType::kI32, {inputs.drawers});
  accept.token = last_token_.view(DType::kI32, {inputs.drawers});
  require_valid(accept);
  ops_.accept_drafts(stream, accept);
  const ops::FillIdsArgs fill{inputs.next_ids.view,
                              drawn.view(DType::kI32, {options_.max_logit_rows})};
  require_valid(fill);
  ops_.fill_ids(stream, fill);
  batch.ids = inputs.next_ids.view;
  batch.logit_rows = accept.last;
  const Result<model::StepOutput> output = model_.draft(stream, batch, hidden, store_);
  FATHOM_RETURN_IF_ERROR(output.status());
  guess(stream, output->logits, 0);
  return options_.drafts > 1 ? chain(stream, inputs, batch, output->hidden) : Status();
}

void Drafter::advance(Stream& stream, const StepInputs& inputs, std::int64_t leaders) {
  ops::AdvanceRowsArgs args;
  args.accepted = accepted_.view(DType::kI32, {leaders});
  args.token = last_token_.view(DType::kI32, {leaders});
  args.drafted = drafted_.view(DType::kI32, {options_.drafts, leaders});
  args.leader = inputs.leader.view;
  args.row = inputs.follower_row.view;
  args.draw = inputs.follower_draw.view;
  args.rows = inputs.follower_rows.view;
  args.id = inputs.ids.view;
  args.position = inputs.positions.view;
  args.drawn_position = inputs.drawn_position.view;
  args.draft = inputs.draft.view;
  require_valid(args);
  ops_.advance_rows(stream, args);
}

void Drafter::guess(Stream& stream, const TensorView& logits, std::int32_t draft) {
  const std::int64_t drawers = logits.shape[0];
  ops::ArgmaxArgs best;
  best.logits = logits.columns(0, options_.drawable(config_.vocab_size));
  best.token = drafted_tokens(draft, drawers);
  best.log_sum = log_sum_.view(DType::kF32, {drawers});
  require_valid(best);
  ops_.argmax(stream, best);
}

// One draft after the other, each of the one before and of the draft layer's own hidden state.
// Their rows are provisional: the next step writes those of the tokens that stay.
Status Drafter::chain(Stream& stream,
                      const StepInputs& inputs,
                      model::Batch batch,
                      TensorView hidden) {
  const std::int64_t drawers = inputs.drawers;
  if (drawers == 0) return {};
  ops::FollowRowsArgs follow;
  follow.from = batch.logit_rows;
  follow.position = inputs.positions.view;
  follow.sequence = inputs.sequences.view;
  follow.end = inputs.page_end.view;
  follow.next_position = chain_position_.view(DType::kI32, {drawers});
  follow.next_sequence = chain_sequence_.view(DType::kI32, {drawers});
  const TensorView first = chain_hidden_.view(hidden.dtype, {drawers, hidden.shape[1]});
  const ops::GatherRowsArgs gather{hidden, follow.from, first};
  require_valid(gather);
  ops_.gather_rows(stream, gather);
  hidden = first;
  batch.tokens.positions = follow.next_position;
  batch.tokens.sequences = follow.next_sequence;
  batch.logit_rows = inputs.drawer.view;
  batch.segments = {};
  const std::int32_t last_position = batch.max_position;
  for (std::int32_t draft = 1; draft < options_.drafts; ++draft) {
    follow.ahead = draft;
    require_valid(follow);
    ops_.follow_rows(stream, follow);
    batch.ids = drafted_tokens(draft - 1, drawers);
    batch.max_position = std::min(last_position + draft, options_.context_tokens - 1);
    const Result<model::StepOutput> output = model_.draft(stream, batch, hidden, store_);
    FATHOM_RETURN_IF_ERROR(output.status());
    guess(stream, output->logits, draft);
    hidden = output->hidden;
  }
  return {};
}

}  // namespace fathom::engine
