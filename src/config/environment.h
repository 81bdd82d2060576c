#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "config/flag_table.h"

namespace fathom::config {

enum class VariableKind : std::uint8_t { kText, kInt, kFloat, kSwitch };

// One environment variable that a launch looks at.
struct Variable {
  std::string_view name = {};
  std::string_view initial = {};  // the default as it would be set; empty: none
  std::string_view help = {};
  std::string_view note = {};  // for Support::kNoNeed…: what happens instead
  double low = -1e18;          // numbers lie in [low, high]
  double high = 1e18;
  VariableKind kind = VariableKind::kText;
  Support support = Support::kNotBuilt;
  // A number out of range is ignored with a warning, as the library that reads the variable does.
  bool lenient = false;
};

// The one table of them, in the order of docs/flags.md.
std::span<const Variable> environment_variables();

// The value of a variable, or nothing.
using GetEnvironment = std::function<std::optional<std::string>(const std::string& name)>;

// A value for every variable of the table. All members require that `name` is in it.
class EnvironmentValues {
 public:
  // kInvalidArgument names a variable, its value and what was expected. An empty value counts as
  // not set.
  static Result<EnvironmentValues> read(const GetEnvironment& get);
  EnvironmentValues();  // nothing is set

  bool is_set(std::string_view name) const;
  bool changed(std::string_view name) const;  // set to something else than the default
  bool is_on(std::string_view name) const;
  std::int64_t integer(std::string_view name, std::int64_t absent = 0) const;
  std::string text(std::string_view name) const;  // as it was set; else the default, or empty

  // What was ignored, a sentence each.
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  struct Entry {
    Json value;
    bool set = false;
  };
  const Entry& entry(std::string_view name) const;

  std::vector<Entry> entries_;  // by place in the table
  std::vector<std::string> warnings_;
};

}  // namespace fathom::config
