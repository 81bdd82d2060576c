#pragma once

#include <iosfwd>
#include <span>
#include <string>

namespace fathom::app {

// `fathom chat`: talks to an OpenAI endpoint on the terminal, or answers what is piped into it. The
// answers go to `out`, everything else to `err`. Exit code 0; 1 for a failure; 2 for a usage error.
int run_chat(std::span<const std::string> args, std::ostream& out, std::ostream& err);

// The same, reading lines from the descriptor `input` instead of standard input.
int run_chat_from(int input,
                  std::span<const std::string> args,
                  std::ostream& out,
                  std::ostream& err);

}  // namespace fathom::app
