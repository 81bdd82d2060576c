#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "cache/page_pool.h"
#include "cache/radix_index.h"
#include "engine/adjustments.h"
#include "grammar/compiler.h"
#include "wire/messages.h"

namespace fathom::engine {

// A request's state in the engine, from its arrival to its last output.
//
// Steps are launched before the results of the step before are there, so the last tokens may be
// `pending`: they are drawn by a step under way and stand in `tokens` as codes
// (Runner::code_of_drawn). Planning counts them, outputs do not. Where that step verifies drafts it
// may give more tokens, `ahead` at most: until it is collected the sequence is at least as long as
// it says, and its rows reach at least as far.
struct Sequence {
  static constexpr std::int32_t kNever = std::numeric_limits<std::int32_t>::max();

  wire::GenerateRequest request;      // its prompt has moved to `tokens`
  std::vector<wire::TokenId> tokens;  // the prompt, what was generated, what is pending
  std::int32_t prompt_tokens = 0;     // of `tokens`
  std::int32_t pending = 0;           // of `tokens`
  // The most tokens that the last step it was in may give beside the pending one, while it pends.
  std::int32_t ahead = 0;
  std::vector<wire::TokenId> drafts;  // guesses at what follows the tokens told
  wire::DraftCounts draft_counts;
  std::int32_t undrafted_from = kNever;  // the draft layer has no rows from this one on
  std::int32_t computed = 0;        // cache rows that exist or are under way: tokens[0, computed)
  std::int32_t max_new_tokens = 1;  // the request's, shortened to context and pool; >= 1
  std::int32_t scored = 0;          // prompt rows whose log-probabilities were asked for
  std::int32_t retractions = 0;
  std::int32_t slot = -1;            // row of the page table while running, else -1
  std::int64_t admission = 0;        // its number among all, while running
  std::vector<cache::PageId> pages;  // held while running, in order of positions
  std::int32_t indexed = 0;          // of `pages`, the first ones: in the prefix cache
  cache::RadixIndex::Node node = cache::RadixIndex::kNone;  // of the last of those; locked
  std::int32_t cached_tokens = -1;  // rows found at its first admission; -1 before it
  std::int32_t unpublished = 0;     // generated tokens that no output carries yet
  std::int64_t received_ns = 0;     // of base now_ns()
  wire::RequestTimes times;         // since then; told_ns is for the outputs
  std::vector<wire::PositionLogprobs> prompt_logprobs;  // of positions told, until published
  std::vector<wire::PositionLogprobs> logprobs;         // of the unpublished tokens
  Adjustments adjustments;
  std::shared_ptr<grammar::Compilation> compilation;  // of its constraint, while it is waited for
  std::unique_ptr<grammar::Matcher> matcher;          // of its constraint
  bool constrained = false;                           // from the next token on
  bool ended = false;                                 // it has had its last output

  std::int32_t known() const { return static_cast<std::int32_t>(tokens.size()); }
  std::int32_t generated() const { return known() - prompt_tokens; }
  bool running() const { return slot >= 0; }
  // Whether its last token is drawn or under way.
  bool drawn_out() const { return generated() >= max_new_tokens; }
  // Tokens that the step under way may give beside the pending one.
  std::int32_t may_follow() const { return pending > 0 ? ahead : 0; }
  // Whether what is done to its next logits depends on a token that is pending, or on how many will
  // come of the step under way.
  bool draws_late() const {
    return pending > 0 && (matcher != nullptr || adjustments.penalizes() ||
                           (ahead > 0 && adjustments.forbids(generated())));
  }

  // Whether the draft layer has all of its rows, so that it can go on.
  bool drafted() const { return undrafted_from == kNever; }

  // Without those that are pending.
  std::int32_t told() const { return generated() - pending; }
  wire::TokenId last_told() const { return *(tokens.end() - pending - 1); }
  // The first pending token is `token`.
  void tell(wire::TokenId token) {
    *(tokens.end() - pending) = token;
    --pending;
    ++unpublished;
    if (adjustments.penalizes()) adjustments.add(token);
  }
  // A draft was right: `token` follows what was told, and the row of the token before it is
  // computed.
  void tell_more(wire::TokenId token) {
    tokens.insert(tokens.end() - pending, token);
    ++pending;
    ++computed;
    tell(token);
  }

  // The first row whose logits are wanted for the prompt's log-probabilities, or prompt_tokens - 1
  // when none are: row i gives those of position i + 1.
  std::int32_t first_scored_row() const {
    const std::int32_t last = prompt_tokens - 1;
    if (!request.logprobs.wanted) return last;
    return std::min(last, std::max({0, request.logprobs.prompt_start - 1, scored}));
  }
};

}  // namespace fathom::engine
