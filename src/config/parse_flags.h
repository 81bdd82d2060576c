#pragma once

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "config/flag_values.h"

namespace fathom::config {

// Reads a file named on the command line.
using FileReader = std::function<Result<std::string>(const std::filesystem::path&)>;

struct ParseOptions {
  // The first word may be the model (`fathom serve MODEL …`).
  bool model_may_come_first = false;
  FileReader read_file;  // for --config
};

struct ParsedFlags {
  FlagValues values;
  bool help = false;  // --help was met before any mistake; `values` are not complete then
};

// Parses launch flags as SGLang's parser does, which is Python's argparse:
// - an exact spelling, else any prefix that fits the spellings of one flag; the spellings of 0.5.7
//   are looked through first, the later ones only when none of those fits
// - "--flag value" and "--flag=value"; a list takes the words up to the next flag
// - a word that looks like a negative number is a value
// - the last occurrence of a flag wins, whichever of its spellings is used
// - --config FILE: the flags of a YAML file, as if they stood in front
//
// kInvalidArgument has argparse's message: "argument --port: invalid int value: 'x'",
// "ambiguous option: --pp could match --pp-size, …", "unrecognized arguments: --nonsense".
Result<ParsedFlags> parse_flags(std::span<const std::string> args, const ParseOptions& options);

// The words that a YAML file of flags stands for: its mapping's keys are flags without dashes; true
// is a switch, false is nothing, a list is several words. Untrusted input, at most 1 MiB; a failure
// says where.
Result<std::vector<std::string>> config_file_words(std::string_view yaml);

}  // namespace fathom::config
