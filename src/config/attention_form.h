#pragma once

#include <cstdint>
#include <string_view>

#include "base/status.h"

namespace fathom::config {

// How attention is computed (docs/arithmetic.md 5). The two are equal in algebra, not in bits.
enum class AttentionForm : std::uint8_t {
  kAbsorbed,  // on latents: what the promises about equal bits are made for
  // On keys and values expanded for each head: fewer products a key, but the whole prefix is
  // expanded in every step, so it can only pay for prompts run in large chunks. Its bits are its
  // own.
  kExpanded,
};

// "absorbed" | "expanded"; kInvalidArgument names what was given and what may be.
Result<AttentionForm> parse_attention_form(std::string_view text);
std::string_view attention_form_name(AttentionForm form);

}  // namespace fathom::config
