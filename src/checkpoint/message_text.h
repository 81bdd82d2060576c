#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fathom::checkpoint {

// A name out of a file as it may stand in a message: in single quotes, control characters
// replaced, cut where it is very long.
std::string in_quotes(std::string_view name);

// "[7168, 64]"
std::string shape_text(const std::vector<std::int64_t>& shape);

}  // namespace fathom::checkpoint
