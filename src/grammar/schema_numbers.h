#pragma once

#include <array>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/status.h"

namespace fathom::grammar {

// The keywords of numbers.
constexpr std::array<std::string_view, 5> kOfNumbers{"minimum", "maximum", "exclusiveMinimum",
                                                     "exclusiveMaximum", "multipleOf"};

// Puts what the schema at `place` asks of a number or integer into `out`, as the library enforces
// it. kInvalidArgument names the keyword that it would not.
Status normalize_number(const std::string& type,
                        const Json& schema,
                        const std::string& place,
                        Json& out);

}  // namespace fathom::grammar
