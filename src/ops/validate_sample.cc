#include <string>

#include "ops/sample.h"
#include "tensor/match.h"

namespace fathom::ops {

namespace {

OneDType integers() { return {DType::kI32}; }
OneDType floats() { return {DType::kF32}; }

// Two operands [rows, columns] that come together or not at all. `columns` is bound when they do.
Status match_pair(const TensorView& ids,
                  std::string_view ids_name,
                  const TensorView& logprobs,
                  std::string_view logprobs_name,
                  Dim& rows,
                  Dim& columns) {
  if (!ids.present() && !logprobs.present()) return {};
  OneDType numbers = integers();
  OneDType values = floats();
  FATHOM_RETURN_IF_ERROR(match(ids, ids_name, {&rows, &columns}, numbers));
  return match(logprobs, logprobs_name, {&rows, &columns}, values);
}

Status match_threshold(float threshold, const std::string& name) {
  if (threshold >= 0 && threshold <= 1) return {};
  return invalid_argument(name + " is " + std::to_string(threshold) + ", wanted 0 to 1");
}

}  // namespace

Status validate(const SampleArgs& args) {
  OneDType numbers = integers();
  OneDType values = floats();
  Dim rows("rows");
  Dim vocab("vocab");
  Dim words("words", 2);
  FATHOM_RETURN_IF_ERROR(match(args.logits, "logits", {&rows, &vocab}, values));
  if (vocab.size() < 1 || vocab.size() > kMaxSampledVocab) {
    return invalid_argument("logits: vocab is " + std::to_string(vocab.size()) + ", wanted 1 to " +
                            std::to_string(kMaxSampledVocab));
  }
  FATHOM_RETURN_IF_ERROR(match(args.temperature, "temperature", {&rows}, values));
  FATHOM_RETURN_IF_ERROR(match(args.top_k, "top_k", {&rows}, numbers));
  FATHOM_RETURN_IF_ERROR(match(args.top_p, "top_p", {&rows}, values));
  FATHOM_RETURN_IF_ERROR(match(args.min_p, "min_p", {&rows}, values));
  FATHOM_RETURN_IF_ERROR(match(args.seed, "seed", {&rows, &words}, numbers));
  FATHOM_RETURN_IF_ERROR(match(args.sample, "sample", {&rows}, numbers));
  FATHOM_RETURN_IF_ERROR(match(args.position, "position", {&rows}, numbers));
  FATHOM_RETURN_IF_ERROR(match(args.token, "token", {&rows}, numbers));
  if (!args.draft.present()) return {};
  FATHOM_RETURN_IF_ERROR(match_threshold(args.accept_threshold_single, "accept_threshold_single"));
  FATHOM_RETURN_IF_ERROR(match_threshold(args.accept_threshold_acc, "accept_threshold_acc"));
  return match(args.draft, "draft", {&rows}, numbers);
}

Status validate(const AcceptDraftsArgs& args) {
  OneDType numbers = integers();
  Dim draws("draws");
  Dim bounds("sequences + 1");
  Dim sequences("sequences");
  FATHOM_RETURN_IF_ERROR(match(args.first, "first", {&bounds}, numbers));
  FATHOM_RETURN_IF_ERROR(match(args.drawn, "drawn", {&draws}, numbers));
  FATHOM_RETURN_IF_ERROR(match(args.draft, "draft", {&draws}, numbers));
  FATHOM_RETURN_IF_ERROR(match(args.row, "row", {&draws}, numbers));
  FATHOM_RETURN_IF_ERROR(match(args.accepted, "accepted", {&sequences}, numbers));
  FATHOM_RETURN_IF_ERROR(match(args.last, "last", {&sequences}, numbers));
  FATHOM_RETURN_IF_ERROR(match(args.token, "token", {&sequences}, numbers));
  if (bounds.size() == sequences.size() + 1) return {};
  return invalid_argument("first: has " + std::to_string(bounds.size()) +
                          " numbers, wanted one more than the " + std::to_string(sequences.size()) +
                          " sequences");
}

Status validate(const FollowRowsArgs& args) {
  OneDType numbers = integers();
  Dim count("count");
  Dim rows("rows");
  FATHOM_RETURN_IF_ERROR(match(args.from, "from", {&count}, numbers));
  FATHOM_RETURN_IF_ERROR(match(args.position, "position", {&rows}, numbers));
  FATHOM_RETURN_IF_ERROR(match(args.sequence, "sequence", {&rows}, numbers));
  FATHOM_RETURN_IF_ERROR(match(args.end, "end", {&count}, numbers));
  FATHOM_RETURN_IF_ERROR(match(args.next_position, "next_position", {&count}, numbers));
  return match(args.next_sequence, "next_sequence", {&count}, numbers);
}

Status validate(const AdvanceRowsArgs& args) {
  OneDType numbers = integers();
  Dim leaders("leaders");
  Dim drafts("drafts");
  Dim followers("followers");
  Dim rows("rows");
  Dim draws("draws");
  FATHOM_RETURN_IF_ERROR(match(args.accepted, "accepted", {&leaders}, numbers));
  FATHOM_RETURN_IF_ERROR(match(args.token, "token", {&leaders}, numbers));
  FATHOM_RETURN_IF_ERROR(match(args.drafted, "drafted", {&drafts, &leaders}, numbers));
  FATHOM_RETURN_IF_ERROR(match(args.leader, "leader", {&followers}, numbers));
  FATHOM_RETURN_IF_ERROR(match(args.row, "row", {&followers}, numbers));
  FATHOM_RETURN_IF_ERROR(match(args.draw, "draw", {&followers}, numbers));
  FATHOM_RETURN_IF_ERROR(match(args.rows, "rows", {&followers}, numbers));
  FATHOM_RETURN_IF_ERROR(match(args.id, "id", {&rows}, numbers));
  FATHOM_RETURN_IF_ERROR(match(args.position, "position", {&rows}, numbers));
  FATHOM_RETURN_IF_ERROR(match(args.drawn_position, "drawn_position", {&draws}, numbers));
  return match(args.draft, "draft", {&draws}, numbers);
}

Status validate(const AdjustLogitsArgs& args) {
  constexpr std::int64_t kWordBits = 32;
  OneDType numbers = integers();
  OneDType values = floats();
  Dim rows("rows");
  Dim vocab("vocab");
  Dim adjusted("adjusted");
  Dim entries("entries");
  Dim penalties("penalties", 3);
  FATHOM_RETURN_IF_ERROR(match(args.logits, "logits", {&rows, &vocab}, values));
  FATHOM_RETURN_IF_ERROR(match(args.row, "row", {&adjusted}, numbers));
  FATHOM_RETURN_IF_ERROR(match(args.penalties, "penalties", {&adjusted, &penalties}, values));
  Dim ends("ends", adjusted.size() + 1);
  FATHOM_RETURN_IF_ERROR(match(args.first_entry, "first_entry", {&ends}, numbers));
  FATHOM_RETURN_IF_ERROR(match(args.token, "token", {&entries}, numbers));
  FATHOM_RETURN_IF_ERROR(match(args.count, "count", {&entries}, numbers));
  FATHOM_RETURN_IF_ERROR(match(args.bias, "bias", {&entries}, values));
  if (!args.mask_row.present() && !args.mask.present()) return {};
  Dim masks("masks");
  Dim words("words", (vocab.size() + kWordBits - 1) / kWordBits);
  FATHOM_RETURN_IF_ERROR(match(args.mask_row, "mask_row", {&adjusted}, numbers));
  return match(args.mask, "mask", {&masks, &words}, numbers);
}

Status validate(const LogprobsArgs& args) {
  OneDType numbers = integers();
  OneDType values = floats();
  Dim rows("rows");
  Dim vocab("vocab");
  Dim top("top");
  Dim asked("asked");
  FATHOM_RETURN_IF_ERROR(match(args.logits, "logits", {&rows, &vocab}, values));
  if (vocab.size() < 1) return invalid_argument("logits: vocab is 0, wanted 1 or more");
  FATHOM_RETURN_IF_ERROR(match(args.temperature, "temperature", {&rows}, values));
  FATHOM_RETURN_IF_ERROR(match(args.token, "token", {&rows}, numbers));
  FATHOM_RETURN_IF_ERROR(match(args.logprob, "logprob", {&rows}, values));
  FATHOM_RETURN_IF_ERROR(
      match_pair(args.top_ids, "top_ids", args.top_logprobs, "top_logprobs", rows, top));
  if (top.bound() && (top.size() < 1 || top.size() > vocab.size())) {
    return invalid_argument("top_ids: top is " + std::to_string(top.size()) + ", wanted 1 to " +
                            std::to_string(vocab.size()));
  }
  return match_pair(args.asked, "asked", args.asked_logprobs, "asked_logprobs", rows, asked);
}

}  // namespace fathom::ops
