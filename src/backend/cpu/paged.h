#pragma once

#include <cstdint>

#include "config/kv_layout.h"
#include "ops/attention.h"

namespace fathom::cpu {

// Where one position of a sequence lies in the caches.
struct Place {
  std::int32_t page = 0;
  std::int32_t slot = 0;  // in the page
};

inline Place place_of(const ops::PagedTokens& tokens,
                      std::int32_t sequence,
                      std::int32_t position) {
  const auto* pages = tokens.page_table.row<const std::int32_t>(sequence);
  return {pages[position / config::kPageTokens], position % config::kPageTokens};
}

// The same for the own position of row `token`.
inline Place place_of(const ops::PagedTokens& tokens, std::int64_t token) {
  return place_of(tokens, tokens.sequences.row<const std::int32_t>(0)[token],
                  tokens.positions.row<const std::int32_t>(0)[token]);
}

// Whether row `token` is padding, which has no place.
inline bool is_padding(const ops::PagedTokens& tokens, std::int64_t token) {
  return tokens.positions.row<const std::int32_t>(0)[token] < 0;
}

}  // namespace fathom::cpu
