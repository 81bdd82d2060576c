#pragma once

#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "grammar/json_schema.h"

namespace fathom::grammar {

// Rewrites a structural tag, in its present form ("format") or the older one ("structures" and
// "triggers"), so that its JSON Schemas are normalized (json_schema.h), white space in JSON is
// bounded, and its regular expressions, grammars and repetitions are within bounds (repetition.h).
// kInvalidArgument names the place; the form itself is left for the library to check. `patterns`
// as in normalize_schema().
Result<Json> normalize_structural_tag(const Json& tag,
                                      int max_depth,
                                      std::vector<SchemaPattern>& patterns);

}  // namespace fathom::grammar
