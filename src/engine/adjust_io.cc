#include "engine/adjust_io.h"

#include <algorithm>
#include <limits>

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
  const std::int64_t of_each = 1 + options.drafts;
  const std::int64_t rows = options.max_sequences * of_each;
  const std::int64_t entries =
      rows * static_cast<std::int64_t>(kMaxNamedTokens) +
      std::min(std::int64_t{pages} * config::kPageTokens * of_each + rows * options.drafts,
               rows * std::int64_t{vocab});
  constexpr std::size_t kRowArrays = 3;
  constexpr std::size_t kEntryArrays = 3;
  return kRowArrays * InputArena::bytes_for(rows + 1) + InputArena::bytes_for(kPenalties * rows) +
         kEntryArrays * InputArena::bytes_for(entries) +
         InputArena::bytes_for(rows * mask_words(vocab));
}

namespace {

// The answer's masks begin behind so many of its drafts; kNoMasks: there are none.
constexpr std::size_t kNoMasks = std::numeric_limits<std::size_t>::max();
std::size_t first_masked(const Sequence& sequence, std::span<const wire::TokenId> drafts) {
  if (sequence.constrained) return 0;
  if (sequence.matcher == nullptr) return kNoMasks;
  const auto begin =
      std::find(drafts.begin(), drafts.end(), sequence.request.constraint.begins_after);
  return begin == drafts.end() ? kNoMasks : static_cast<std::size_t>(begin - drafts.begin()) + 1;
}

}  // namespace

void AdjustInputs::choose(std::span<const Work> work,
                          const LogitRows& chosen,
                          AdjustedRows& adjusted) {
  adjusted.rows.clear();
  adjusted.answers.clear();
  std::int32_t row = 0;
  for (const Work& each : work) {
    if (!each.draws) continue;
    const Sequence& sequence = *each.sequence;
    // Where they matter they are known.
    const bool known = sequence.pending == 0;
    const auto drafts =
        std::span(sequence.drafts).first(known ? static_cast<std::size_t>(each.drafts) : 0);
    const std::int32_t first_row = row;
    row += 1 + each.drafts;
    if (sequence.ended) continue;  // drawn for nothing
    FATHOM_CHECK(!sequence.draws_late());
    const std::size_t masked_from = first_masked(sequence, drafts);
    for (std::size_t i = 0; i <= static_cast<std::size_t>(each.drafts); ++i) {
      AdjustedRow next;
      next.row = first_row + static_cast<std::int32_t>(i);
      next.sequence = &sequence;
      next.drafts = drafts.first(std::min(i, drafts.size()));
      const LogitRow& logits = chosen.rows[static_cast<std::size_t>(next.row)];
      next.forbids = sequence.adjustments.forbids(logits.position - sequence.prompt_tokens);
      next.masked = i >= masked_from;
      if (next.masked) {
        next.mask_answer = adjusted.answers.size();
        next.mask_place = i - masked_from;
      }
      if (next.masked || sequence.adjustments.entries(next.forbids, next.drafts) > 0) {
        adjusted.rows.push_back(next);
      }
    }
    if (masked_from <= drafts.size()) {
      adjusted.answers.push_back({sequence.matcher.get(), drafts.subspan(masked_from), {}, 0, 0});
    }
  }
  FATHOM_CHECK(row == chosen.drawing);
}

AdjustInputs AdjustInputs::fill(InputArena& arena,
                                AdjustedRows& adjusted,
                                std::int32_t vocab,
                                grammar::MaskFiller& filler) {
  const std::span<const AdjustedRow> rows = adjusted.rows;
  const auto count = static_cast<std::int64_t>(rows.size());
  std::size_t entries = 0;
  for (const AdjustedRow& each : rows) {
    entries += each.sequence->adjustments.entries(each.forbids, each.drafts);
  }
  std::int64_t masks = 0;
  for (const grammar::MaskRows& answer : adjusted.answers) masks += 1 + std::ssize(answer.drafts);
  AdjustInputs inputs;
  inputs.masked = masks > 0;
  inputs.row = arena.take<std::int32_t>(count);
  inputs.penalties = arena.take<float>(count, kPenalties);
  inputs.first_entry = arena.take<std::int32_t>(count + 1);
  inputs.token = arena.take<std::int32_t>(static_cast<std::int64_t>(entries));
  inputs.count = arena.take<std::int32_t>(static_cast<std::int64_t>(entries));
  inputs.bias = arena.take<float>(static_cast<std::int64_t>(entries));
  inputs.mask_row = arena.take<std::int32_t>(count);
  inputs.mask = arena.take<std::int32_t>(masks, mask_words(vocab));
  auto* room = reinterpret_cast<std::uint32_t*>(inputs.mask.host);
  for (grammar::MaskRows& answer : adjusted.answers) {
    answer.masks = {room, (answer.drafts.size() + 1) * grammar::mask_words(vocab)};
    room += answer.masks.size();
  }
  filler.fill(adjusted.answers);
  std::int32_t entry = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const AdjustedRow& each = rows[i];
    const Adjustments& adjustments = each.sequence->adjustments;
    const wire::SamplingParams& sampling = each.sequence->request.sampling;
    bool forbids = each.forbids;
    inputs.mask_row.host[i] = -1;
    const grammar::MaskRows* const answer =
        each.masked ? &adjusted.answers[each.mask_answer] : nullptr;
    if (answer != nullptr && each.mask_place < answer->filled) {
      const auto mask = answer->masks.subspan(each.mask_place * grammar::mask_words(vocab),
                                              grammar::mask_words(vocab));
      if ((answer->forbids >> each.mask_place & 1U) != 0) {
        const auto* const begin = reinterpret_cast<const std::uint32_t*>(inputs.mask.host);
        inputs.mask_row.host[i] =
            static_cast<std::int32_t>((mask.data() - begin) / mask_words(vocab));
      }
      // Where nothing but an end satisfies the grammar, it comes before min_new_tokens.
      if (forbids) forbids = adjustments.leaves(mask);
    }
    inputs.row.host[i] = each.row;
    float* const penalties = inputs.penalties.host + static_cast<std::int64_t>(i) * kPenalties;
    penalties[0] = sampling.frequency_penalty;
    penalties[1] = sampling.presence_penalty;
    penalties[2] = sampling.repetition_penalty;
    inputs.first_entry.host[i] = entry;
    const std::size_t own = adjustments.entries(each.forbids, each.drafts);
    if (own > 0) {
      adjustments.write(
          forbids, each.drafts,
          {inputs.token.host + entry, inputs.count.host + entry, inputs.bias.host + entry});
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
