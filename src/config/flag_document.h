#pragma once

#include <string>

namespace fathom::config {

// What `fathom launch_server --help` prints.
std::string flag_help();

// One line that says how the command is used, for mistakes.
std::string flag_usage();

// docs/flags.md: every flag and every environment variable of the tables.
std::string flag_document();

}  // namespace fathom::config
