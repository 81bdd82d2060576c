#pragma once

#include <random>
#include <span>
#include <string>
#include <string_view>

namespace fathom::text {

// Random texts that a tokenizer may get wrong: words of many scripts, emoji with joiners, combining
// marks, runs of digits and of white space, code, control characters, and `markers` (the
// tokenizer's added tokens, say) whole, cut and between blanks; one kind or many in one text.
// Valid UTF-8 of 0 to about 200 characters.
std::string random_mixture(std::mt19937& random, std::span<const std::string_view> markers);

// The same with bytes changed, inserted and cut out, so mostly not valid UTF-8.
std::string random_damage(std::mt19937& random, std::string text);

}  // namespace fathom::text
