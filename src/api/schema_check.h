#pragma once

#include "base/json.h"
#include "base/status.h"

namespace fathom::api {

// The JSON schema of a tool's parameters, held to the meta-schema of Draft 2020-12: keywords have
// the kinds of values that they must have. Names of types that are none of JSON Schema's but well
// known elsewhere ("int", "varchar", "dict" …) become those. Unknown keywords stay as they are.
//
// kInvalidArgument names the place: "properties.city.type: was \"place\", expected …".
Result<Json> checked_schema(const Json& schema);

}  // namespace fathom::api
