#pragma once

#include <cstdint>
#include <string_view>

#include "base/status.h"

// Bounds of counted repetition, which the library would otherwise multiply out or match in time
// that grows with the product.
namespace fathom::grammar {

constexpr std::int64_t kMaxRepetition = 100000;       // of one {…, n}
constexpr std::int64_t kMaxNestedRepetition = 10000;  // the product of counts around one place
constexpr std::int64_t kMaxTotalRepetition = 200000;  // of the patterns of one schema, summed up
// Of what may be empty: every count may then stand for nothing, and the library follows all ways at
// once ("(.?){0,100}": minutes for one mask).
constexpr std::int64_t kMaxEmptyRepetition = 4;

// kInvalidArgument with the byte of the place. Also bounds the depth of brackets. What is no
// regular expression at all is left for the library to refuse.
// `product` receives the largest product of counts, `empty` whether it matches the empty text.
Status check_regex(std::string_view regex,
                   int max_depth,
                   std::int64_t* product = nullptr,
                   bool* empty = nullptr);
// The same for a grammar, through the rules that a rule names; recursion counts once.
Status check_ebnf(std::string_view ebnf, int max_depth);

}  // namespace fathom::grammar
