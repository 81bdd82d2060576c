#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "cache/page_pool.h"
#include "wire/messages.h"

namespace fathom::engine {

// A request's state in the engine, from its arrival to its last output.
struct Sequence {
  wire::GenerateRequest request;      // its prompt has moved to `tokens`
  std::vector<wire::TokenId> tokens;  // the prompt and what was generated
  std::int32_t prompt_tokens = 0;     // of `tokens`
  std::int32_t computed = 0;          // cache rows that exist: tokens[0, computed)
  std::int32_t max_new_tokens = 1;    // the request's, shortened to context and pool; >= 1
  std::int32_t scored = 0;            // prompt rows whose log-probabilities were told
  std::int32_t retractions = 0;
  std::int32_t slot = -1;            // row of the page table while running, else -1
  std::vector<cache::PageId> pages;  // held while running, in order of positions
  std::int32_t unpublished = 0;      // generated tokens that no output carries yet
  std::vector<wire::PositionLogprobs> prompt_logprobs;  // of positions told, until published
  std::vector<wire::PositionLogprobs> logprobs;         // of the unpublished tokens

  std::int32_t known() const { return static_cast<std::int32_t>(tokens.size()); }
  std::int32_t generated() const { return known() - prompt_tokens; }
  bool running() const { return slot >= 0; }

  // The first row whose logits are wanted for the prompt's log-probabilities, or prompt_tokens - 1
  // when none are: row i gives those of position i + 1.
  std::int32_t first_scored_row() const {
    const std::int32_t last = prompt_tokens - 1;
    if (!request.logprobs.wanted) return last;
    return std::min(last, std::max({0, request.logprobs.prompt_start - 1, scored}));
  }
};

}  // namespace fathom::engine
