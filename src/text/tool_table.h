#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include "base/json.h"

namespace fathom::text {

// The functions that a request offers, by name.
class ToolTable {
 public:
  // `tools`: OpenAI's array, [{"type":"function","function":{"name":…,"parameters":…}},…]; what
  // does not look like that is passed over. Null: no tools. Borrows it.
  explicit ToolTable(const Json::Array* tools);

  struct Tool {
    const Json* properties = nullptr;  // of its parameters' schema; null: none are described

    // Whether the schema of `parameter` allows strings and nothing else but null.
    bool wants_string(std::string_view parameter) const;
  };
  // Null when there is none of that name.
  const Tool* find(std::string_view name) const;

 private:
  std::unordered_map<std::string, Tool> tools_;
};

}  // namespace fathom::text
