#pragma once

#include <iosfwd>
#include <span>
#include <string>

namespace fathom::app {

// `fathom generate`: continues one prompt greedily and says how fast. The text (or the ids, for a
// prompt of ids) goes to `out` as it comes, everything else to `err`. Exit code 0, 1 for a failure,
// 2 for a usage error.
int run_generate(std::span<const std::string> args, std::ostream& out, std::ostream& err);

}  // namespace fathom::app
