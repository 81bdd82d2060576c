#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "wire/messages.h"

namespace fathom::test_support {

inline std::int32_t between(std::mt19937& random, std::int32_t low, std::int32_t high) {
  return low + static_cast<std::int32_t>(random() % static_cast<std::uint32_t>(high - low + 1));
}

// What many prompts begin with: one of a few texts, or a conversation so far, below 250 tokens.
// Often nothing.
inline std::vector<wire::TokenId> random_beginning(std::mt19937& random,
                                                   std::int32_t vocab,
                                                   const std::vector<wire::TokenId>& conversation) {
  if (random() % 3 == 0 && conversation.size() < 250) return conversation;
  if (random() % 3 != 0) return {};
  std::mt19937 text(random() % 3);
  std::vector<wire::TokenId> tokens;
  const std::int32_t length = between(random, 40, 200);
  while (static_cast<std::int32_t>(tokens.size()) < length) {
    tokens.push_back(between(text, 0, vocab - 1));
  }
  return tokens;
}

}  // namespace fathom::test_support
