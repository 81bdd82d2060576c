#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace fathom::text {

// The regexes of tokenizer.json are written for the engine Oniguruma with Ruby's syntax; PCRE2
// reads most of it alike. Rewrites the rest: the classes \w \s \h and their opposites are spelled
// out as they are there (\p{Script} without script extensions, \u0000, {,n} and (?m: likewise).
//
// kInvalidArgument names the place of what would silently mean something else: a class inside a
// class, &&, {m,n}+ (which repeats again there and does not backtrack here), options that begin
// inside a pattern. Everything else is left for PCRE2 to accept or refuse.
Result<std::string> to_pcre2(std::string_view pattern);

}  // namespace fathom::text
