#pragma once

#include <cstdint>

#include "text/jinja/syntax.h"
#include "text/jinja/value.h"

namespace fathom::text::jinja {

// One operator of Python's on two values; fails where Python raises, and where a whole number would
// pass 64 bits.
Value calculate(Budget& budget, Operator op, const Value& a, const Value& b);
bool compare(Budget& budget, Operator op, const Value& a, const Value& b);
Value negate(Budget& budget, const Value& value);

// a in b.
bool contains(Budget& budget, const Value& a, const Value& b);

// value[begin:end:step]; each may be None.
Value slice(Budget& budget,
            const Value& value,
            const Value& begin,
            const Value& end,
            const Value& step);

// len(); -1 with a failure when there is none.
std::int64_t length(Budget& budget, const Value& value);

}  // namespace fathom::text::jinja
