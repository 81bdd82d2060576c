#pragma once

#include <iosfwd>
#include <span>
#include <string>

namespace fathom::app {

// `fathom inspect`: reads a checkpoint and prints what it is and what each rank of a layout will
// hold. The report goes to `out`, everything else to `err`. Exit code 0; 1 when the checkpoint is
// refused or cannot be read; 2 for a usage error or a layout that does not fit the model.
int run_inspect(std::span<const std::string> args, std::ostream& out, std::ostream& err);

}  // namespace fathom::app
