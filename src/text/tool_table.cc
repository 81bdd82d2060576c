#include "text/tool_table.h"

#include <algorithm>

namespace fathom::text {
namespace {

bool is_string_type(const Json& type) {
  const std::string* const name = type.as_string();
  return name != nullptr && *name == "string";
}

bool is_null_type(const Json& type) {
  const std::string* const name = type.as_string();
  return name != nullptr && *name == "null";
}

}  // namespace

ToolTable::ToolTable(const Json::Array* tools) {
  if (tools == nullptr) return;
  for (const Json& entry : *tools) {
    const Json* const function = entry.find_set("function");
    if (function == nullptr) continue;
    const Json* const name = function->find_set("name");
    if (name == nullptr || !name->is_string()) continue;
    Tool tool;
    if (const Json* const parameters = function->find_set("parameters")) {
      tool.properties = parameters->find_set("properties");
    }
    tools_.emplace(*name->as_string(), tool);
  }
}

bool ToolTable::Tool::wants_string(std::string_view parameter) const {
  const Json* const schema = properties != nullptr ? properties->find_set(parameter) : nullptr;
  const Json* const type = schema != nullptr ? schema->find_set("type") : nullptr;
  if (type == nullptr) return false;
  const Json::Array* const types = type->as_array();
  if (types == nullptr) return is_string_type(*type);
  return std::any_of(types->begin(), types->end(), is_string_type) &&
         std::all_of(types->begin(), types->end(),
                     [](const Json& one) { return is_string_type(one) || is_null_type(one); });
}

const ToolTable::Tool* ToolTable::find(std::string_view name) const {
  const auto found = tools_.find(std::string(name));
  return found != tools_.end() ? &found->second : nullptr;
}

}  // namespace fathom::text
