#pragma once

#include <iosfwd>
#include <span>
#include <string>

namespace fathom::app {

// `fathom launch_server`: SGLang's launch flags and environment → the plan of an instance, which is
// printed and then served. With --dry-run it stops after printing, and needs no more of the model
// than its config.json. Exit codes: 0, 1 (refused, not built yet, or serving failed), 2 (the
// command line is wrong).
int run_launch_server(std::span<const std::string> args, std::ostream& out, std::ostream& err);

// `fathom serve`: the same, and the model may be the first word.
int run_serve(std::span<const std::string> args, std::ostream& out, std::ostream& err);

// `fathom flag_document`: prints docs/flags.md.
int run_flag_document(std::span<const std::string> args, std::ostream& out, std::ostream& err);

}  // namespace fathom::app
