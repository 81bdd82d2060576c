#pragma once

#include <string>

#include "base/json.h"

namespace fathom::text {

// Appends `value` as Python's json.dumps(value, ensure_ascii=False) writes what json.loads read: ",
// " and ": " between, members in their order, text unescaped where JSON allows it, whole numbers
// with all their digits, others as the shortest text that reads back (1.0, 1e+16, 1e-05, Infinity).
//
// The models are trained on prompts with JSON of this form.
void append_python_json(std::string& out, const Json& value);

}  // namespace fathom::text
