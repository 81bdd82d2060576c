#include "engine/adjust_io.h"

#include <algorithm>

#include "config/kv_layout.h"
#include "grammar/compiler.h"

namespace fathom::engine {

namespace {

constexpr std::int64_t kPenalties = 3;  // frequency, presence, repetition

std::int64_t mask_words(std::int32_t vocab) {
  return static_cast<std::int64_t>(grammar::mask_words(vocab));
}

}  // namespace

std::size_t AdjustInputs::bytes(const RunnerOptions& options,
                                std::int32_t vocab,
                                std::int32_t pages) {
  const std::int64_t rows = options.max_sequences;
  const std::int64_t entries =
      rows * static_cast<std::int64_t>(kMaxNamedTokens) +
      std::min(std::int64_t{pages} * config::kPageTokens, rows * std::int64_t{vocab});
  constexpr std::size_t kRowArrays = 3;
  constexpr std::size_t kEntryArrays = 3;
  return kRowArrays * InputArena::bytes_for(rows + 1) + InputArena::bytes_for(kPenalties * rows) +
         kEntryArrays * InputArena::bytes_for(entries) +
         InputArena::bytes_for(rows * mask_words(vocab));
}

void AdjustInputs::choose(std::span<const Work> work,
                          const LogitRows& chosen,
                          std::vector<AdjustedRow>& rows) {
  rows.clear();
  for (std::int64_t i = 0; i < chosen.drawing; ++i) {
    const LogitRow& logits = chosen.rows[static_cast<std::size_t>(i)];
    const Sequence& sequence = *work[logits.work].sequence;
    if (sequence.ended) continue;  // drawn for nothing
    FATHOM_CHECK(!sequence.draws_late());
    AdjustedRow each;
    each.row = static_cast<std::int32_t>(i);
    each.sequence = &sequence;
    each.forbids = sequence.adjustments.forbids(logits.position - sequence.prompt_tokens);
    each.masked = sequence.constrained;
    if (each.masked || sequence.adjustments.entries(each.forbids) > 0) rows.push_back(each);
  }
}

AdjustInputs AdjustInputs::fill(InputArena& arena,
                                std::span<const AdjustedRow> rows,
                                std::int32_t vocab,
                                grammar::MaskFiller& filler,
                                std::vector<grammar::MaskRow>& masks) {
  const auto count = static_cast<std::int64_t>(rows.size());
  std::size_t entries = 0;
  std::int64_t masked = 0;
  for (const AdjustedRow& each : rows) {
    entries += each.sequence->adjustments.entries(each.forbids);
    masked += each.masked ? 1 : 0;
  }
  AdjustInputs inputs;
  inputs.masked = masked > 0;
  inputs.row = arena.take<std::int32_t>(count);
  inputs.penalties = arena.take<float>(count, kPenalties);
  inputs.first_entry = arena.take<std::int32_t>(count + 1);
  inputs.token = arena.take<std::int32_t>(static_cast<std::int64_t>(entries));
  inputs.count = arena.take<std::int32_t>(static_cast<std::int64_t>(entries));
  inputs.bias = arena.take<float>(static_cast<std::int64_t>(entries));
  inputs.mask_row = arena.take<std::int32_t>(count);
  inputs.mask = arena.take<std::int32_t>(masked, mask_words(vocab));
  masks.clear();
  for (const AdjustedRow& each : rows) {
    if (!each.masked) continue;
    const std::int64_t at = static_cast<std::int64_t>(masks.size()) * mask_words(vocab);
    masks.push_back(
        {each.sequence->matcher.get(),
         {reinterpret_cast<std::uint32_t*>(inputs.mask.host + at), grammar::mask_words(vocab)}});
  }
  filler.fill(masks);
  std::int32_t entry = 0;
  std::int32_t mask_row = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const AdjustedRow& each = rows[i];
    const Adjustments& adjustments = each.sequence->adjustments;
    const wire::SamplingParams& sampling = each.sequence->request.sampling;
    bool forbids = each.forbids;
    inputs.mask_row.host[i] = -1;
    if (each.masked) {
      const grammar::MaskRow& filled = masks[static_cast<std::size_t>(mask_row)];
      if (filled.forbids) inputs.mask_row.host[i] = mask_row;
      ++mask_row;
      // Where nothing but an end satisfies the grammar, it comes before min_new_tokens.
      if (forbids) forbids = adjustments.leaves(filled.mask);
    }
    inputs.row.host[i] = each.row;
    float* const penalties = inputs.penalties.host + static_cast<std::int64_t>(i) * kPenalties;
    penalties[0] = sampling.frequency_penalty;
    penalties[1] = sampling.presence_penalty;
    penalties[2] = sampling.repetition_penalty;
    inputs.first_entry.host[i] = entry;
    const std::size_t own = adjustments.entries(each.forbids);
    if (own > 0) {
      adjustments.write(forbids, {inputs.token.host + entry, inputs.count.host + entry,
                                  inputs.bias.host + entry});
    }
    entry += static_cast<std::int32_t>(own);
  }
  inputs.first_entry.host[rows.size()] = entry;
  return inputs;
}

ops::AdjustLogitsArgs AdjustInputs::args(const TensorView& logits) const {
  ops::AdjustLogitsArgs args;
  args.logits = logits;
  args.row = row.view;
  args.penalties = penalties.view;
  args.first_entry = first_entry.view;
  args.token = token.view;
  args.count = count.view;
  args.bias = bias.view;
  if (masked) {
    args.mask_row = mask_row.view;
    args.mask = mask.view;
  }
  return args;
}

}  // namespace fathom::engine
