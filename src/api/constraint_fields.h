#pragma once

#include "api/request_fields.h"
#include "wire/messages.h"

namespace fathom::api {

// The bytes that a schema, pattern, grammar or structural tag may have.
inline constexpr std::size_t kMaxConstraintBytes = std::size_t{1} << 20;

// What the answer has to match: regex, ebnf, json_schema, structural_tag or response_format, of
// which a request gives one at most. Whether it is right is the grammar compiler's to say, in the
// engine; here it has the right kinds. `begins_after` is left to the caller.
//
// - json_schema: a schema, or its text; "$$ANY$$" is any JSON value.
// - structural_tag: xgrammar's JSON, or its text, with `format`, or in the older form with
//   `structures` and `triggers`, which becomes the newer one.
wire::Constraint read_constraint(FieldReader& fields);

}  // namespace fathom::api
