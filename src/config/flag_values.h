#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "config/flag_table.h"

namespace fathom::config {

// Where a value comes from.
enum class ValueSource : std::uint8_t { kDefault, kConfigFile, kCommandLine, kDerived };

// A value for every flag of the table, by the flag's name. Values are what JSON calls them: null
// (nothing given, no default), a boolean, a number, a string, an array; a flag's kind decides
// which. All members require that `name` is in the table.
class FlagValues {
 public:
  // Every flag at its default.
  FlagValues();

  const Json& get(std::string_view name) const;
  ValueSource source(std::string_view name) const;
  // Whether the user gave it, in a file or on the command line, even if it was derived since.
  bool given(std::string_view name) const;
  // Whether the command line (or the file) had something else than the default. Derived values do
  // not count: what the user gave does.
  bool changed(std::string_view name) const;
  // For messages: "--port 8055", as the user spelled the flag; with a switch only its spelling.
  std::string shown(std::string_view name) const;

  bool has(std::string_view name) const { return !get(name).is_null(); }
  bool is_on(std::string_view name) const;  // false when null
  std::int64_t integer(std::string_view name, std::int64_t absent = 0) const;
  double number(std::string_view name, double absent = 0) const;
  std::string text(std::string_view name) const;  // empty when null
  std::vector<std::int64_t> integers(std::string_view name) const;

  // Sets what the user gave; `spelling` is what it was called in full.
  void give(std::string_view name, Json value, ValueSource source, std::string_view spelling);
  // Sets what follows from other values.
  void derive(std::string_view name, Json value);

 private:
  struct Entry {
    Json value;
    Json given;  // the last that the user gave
    ValueSource source = ValueSource::kDefault;
    std::string spelling;  // empty: not given
  };
  const Entry& entry(std::string_view name) const;
  Entry& entry(std::string_view name);

  std::vector<Entry> entries_;  // by the flag's index
};

// A flag's default, null when it has none (false for a switch).
Json default_value(const Flag& flag);

// One word as a value of the flag; of a list, one element. The message says what is wrong the way
// Python's argparse does, without the flag: "invalid int value: 'abc'".
Result<Json> parse_value(const Flag& flag, std::string_view word);

// Every flag's value but those that only tell this program what to do, under SGLang's argument
// names. Keys for access are shown as "***".
Json server_arguments(const FlagValues& values);

// The same as SGLang logs it: "ServerArgs(model_path='…', port=30000, …)".
std::string server_arguments_line(const FlagValues& values);

}  // namespace fathom::config
