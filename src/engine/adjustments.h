#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "wire/messages.h"

namespace fathom::engine {

// Tokens of a request's logit_bias and those that min_new_tokens forbids, together.
constexpr std::size_t kMaxNamedTokens = 1024;

// Where the entries of one row of adjust_logits go.
struct EntryArrays {
  std::int32_t* token = nullptr;
  std::int32_t* count = nullptr;
  float* bias = nullptr;
};

// What a request does to single tokens of its logits, as entries of ops::AdjustLogitsArgs: its
// biases, the tokens that it may not draw yet, and how often its answer has each token.
class Adjustments {
 public:
  Adjustments() = default;
  // `ends`, each once: tokens that are forbidden until the answer has sampling.min_new_tokens.
  Adjustments(const wire::SamplingParams& sampling, std::span<const wire::TokenId> ends);

  // Whether the answer's tokens matter.
  bool penalizes() const { return penalizes_; }
  // The answer has another token. Requires penalizes().
  void add(wire::TokenId token);

  // Whether tokens are forbidden when the answer has `generated` tokens.
  bool forbids(std::int32_t generated) const { return generated < min_new_tokens_; }
  // Entries that write() writes; 0 when there is nothing to do, forbidding tokens included.
  // `drafts`: tokens that the answer has besides, for this once.
  std::size_t entries(bool forbidding, std::span<const wire::TokenId> drafts) const;
  void write(bool forbidding, std::span<const wire::TokenId> drafts, const EntryArrays& to) const;

  // Whether `mask` (of grammar::mask_words) allows a token that is not forbidden.
  bool leaves(std::span<const std::uint32_t> mask) const;

 private:
  std::size_t entry_of(wire::TokenId token);

  bool penalizes_ = false;
  bool has_bias_ = false;
  std::int32_t min_new_tokens_ = 0;     // 0 when nothing is forbidden
  std::vector<std::size_t> forbidden_;  // entries
  // An entry each, in order of their arrival.
  std::vector<std::int32_t> token_;
  std::vector<std::int32_t> count_;
  std::vector<float> bias_;
  std::unordered_map<wire::TokenId, std::size_t> index_;
};

}  // namespace fathom::engine
