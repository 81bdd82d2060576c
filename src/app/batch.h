#pragma once

#include <iosfwd>
#include <span>
#include <string>

namespace fathom::app {

// `fathom batch IN.jsonl OUT.jsonl [--url …]`: sends every line of IN to a server, as many at once
// as the server runs, and writes what it answers to OUT. A run that was interrupted goes on where
// it ended: lines that OUT answers already are left out, with --retry-failed those alone that it
// answers with status 200: other results leave OUT. Exit code 0 when every line was answered
// with status 200; 1 when some were not, or nothing answers; 2 for a usage error; 130 after Ctrl-C.
int run_batch(std::span<const std::string> args, std::ostream& out, std::ostream& err);

}  // namespace fathom::app
