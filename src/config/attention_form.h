#pragma once

#include <cstdint>
#include <string_view>

#include "base/status.h"

namespace fathom::config {

// How attention is computed (docs/arithmetic.md 5). The two are equal in algebra, not in bits.
enum class AttentionForm : std::uint8_t {
  kAbsorbed,  // on latents: what the promises about equal bits are made for
  kExpanded,  // on keys and values expanded for each head: faster for prompts, with its own bits
};

// "absorbed" | "expanded"; kInvalidArgument names what was given and what may be.
Result<AttentionForm> parse_attention_form(std::string_view text);
std::string_view attention_form_name(AttentionForm form);

}  // namespace fathom::config
