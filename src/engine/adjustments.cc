#include "engine/adjustments.h"

#include <algorithm>

#include "base/check.h"

namespace fathom::engine {

Adjustments::Adjustments(const wire::SamplingParams& sampling, std::span<const wire::TokenId> ends)
    : penalizes_(sampling.frequency_penalty != 0 || sampling.presence_penalty != 0 ||
                 sampling.repetition_penalty != 1),
      has_bias_(!sampling.logit_bias.empty()) {
  for (const wire::TokenBias& each : sampling.logit_bias) bias_[entry_of(each.id)] = each.bias;
  if (sampling.min_new_tokens <= 0 || ends.empty()) return;
  min_new_tokens_ = sampling.min_new_tokens;
  for (const wire::TokenId token : ends) forbidden_.push_back(entry_of(token));
}

std::size_t Adjustments::entry_of(wire::TokenId token) {
  const auto [found, added] = index_.try_emplace(token, token_.size());
  if (added) {
    token_.push_back(token);
    count_.push_back(0);
    bias_.push_back(0);
  }
  return found->second;
}

void Adjustments::add(wire::TokenId token) {
  FATHOM_CHECK(penalizes_);
  ++count_[entry_of(token)];
}

std::size_t Adjustments::entries(bool forbidding, std::span<const wire::TokenId> drafts) const {
  if (!forbidding && !has_bias_ && !penalizes_) return 0;
  std::size_t count = token_.size();
  for (std::size_t i = 0; i < drafts.size() && penalizes_; ++i) {
    const auto before = drafts.first(i);
    const bool named = index_.contains(drafts[i]) ||
                       std::find(before.begin(), before.end(), drafts[i]) != before.end();
    if (!named) ++count;
  }
  return count;
}

void Adjustments::write(bool forbidding,
                        std::span<const wire::TokenId> drafts,
                        const EntryArrays& to) const {
  std::copy(token_.begin(), token_.end(), to.token);
  std::copy(count_.begin(), count_.end(), to.count);
  std::copy(bias_.begin(), bias_.end(), to.bias);
  std::size_t end = token_.size();
  for (std::size_t i = 0; i < drafts.size() && penalizes_; ++i) {
    const auto found = index_.find(drafts[i]);
    std::size_t entry = found != index_.end() ? found->second : token_.size();
    while (found == index_.end() && entry < end && to.token[entry] != drafts[i]) ++entry;
    if (entry == end) {
      to.token[entry] = drafts[i];
      to.count[entry] = 0;
      to.bias[entry] = 0;
      ++end;
    }
    ++to.count[entry];
  }
  if (!forbidding) return;
  for (const std::size_t entry : forbidden_) to.count[entry] = -1;
}

bool Adjustments::leaves(std::span<const std::uint32_t> mask) const {
  constexpr std::size_t kWordBits = 32;
  std::unordered_map<std::size_t, std::uint32_t> forbidden;  // bits of words
  for (const std::size_t entry : forbidden_) {
    const auto token = static_cast<std::size_t>(token_[entry]);
    forbidden[token / kWordBits] |= 1U << (token % kWordBits);
  }
  for (std::size_t word = 0; word < mask.size(); ++word) {
    if (mask[word] == 0) continue;
    const auto found = forbidden.find(word);
    if (found == forbidden.end() || (mask[word] & ~found->second) != 0) return true;
  }
  return false;
}

}  // namespace fathom::engine
