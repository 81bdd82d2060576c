#pragma once

#include <string_view>

#include "base/status.h"
#include "text/jinja/limits.h"
#include "text/jinja/syntax.h"

namespace fathom::text::jinja {

// Reads a template, in Jinja's grammar without inheritance and files. Filters and tests are looked
// up when they run. kInvalidArgument: "line 3: …".
Result<Syntax> parse(std::string_view source, const Limits& limits);

}  // namespace fathom::text::jinja
