#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/status.h"

namespace fathom::grammar {

// Appends `key` to a JSON Pointer.
std::string pointer_to(const std::string& place, std::string_view key);

// kInvalidArgument: "schema at PLACE: WHY".
Status schema_refused(const std::string& place, const std::string& why);

// The value that the local reference `uri` ("#", "#/…") names in `root`; null when it names none.
const Json* resolve_reference(const Json& root, std::string_view uri);

// Whether it can be shown that no value satisfies both schemas: other types, other constants, or a
// required property with other constants. References are followed a few steps.
bool exclude_each_other(const Json& root, const Json& a, const Json& b);

// Whether a value is of the JSON Schema type `type`.
bool has_type(const Json& value, std::string_view type);

}  // namespace fathom::grammar
