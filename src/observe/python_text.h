#pragma once

#include <string>
#include <string_view>

#include "base/json.h"

namespace fathom::observe {

// A value the way Python shows it: 'text', None, True, [1, 2], {'key': 1.5}. Log lines that
// operators know from SGLang are made of these. Strings keep their UTF-8; control characters are
// escaped, so a value is always on one line.
//
// `most` bounds strings (in bytes, cut between characters) and lists (in elements): longer ones
// become 'head' ... 'tail'; 0: no bound.
void append_python(std::string& out, const Json& value, std::size_t most = 0);

// "NAME(key=value, …)" of an object's members.
std::string python_call(std::string_view name, const Json& object, std::size_t most = 0);

// A copy with strings and lists cut as above, in the form that JSON lines have: strings
// "head...tail", lists with "..." as their middle element.
Json shortened(const Json& value, std::size_t most);

}  // namespace fathom::observe
