#include "api/tool_fields.h"

#include <algorithm>
#include <utility>

#include "api/schema_check.h"
#include "grammar/tool_tag.h"

namespace fathom::api {

namespace {

Status check_tool(Json& tool) {
  const Json* function = tool.find("function");
  if (function == nullptr || !function->is_object()) {
    return invalid_argument("expected {\"type\": \"function\", \"function\": {…}}, was " +
                            std::string(json_kind_name(tool.kind())) +
                            (tool.is_object() ? " without the object function" : ""));
  }
  const Json* type = tool.find_set("type");
  if (type != nullptr && (!type->is_string() || *type->as_string() != "function")) {
    return invalid_argument("type: was " + brief(*type) + ", expected \"function\"");
  }
  const Json* name = function->find("name");
  if (name == nullptr || !name->is_string() || name->as_string()->empty()) {
    return invalid_argument("function.name: expected a string that is not empty");
  }
  const Json* description = function->find_set("description");
  if (description != nullptr && !description->is_string()) {
    return invalid_argument("function.description: " + wrong_json_kind("a string", *description));
  }
  const Json* strict = function->find_set("strict");
  if (strict != nullptr && !strict->is_bool()) {
    return invalid_argument("function.strict: " + wrong_json_kind("true or false", *strict));
  }
  const Json* parameters = function->find_set("parameters");
  if (parameters == nullptr) return {};
  Result<Json> checked = checked_schema(*parameters);
  if (!checked.ok()) return checked.status().in("function.parameters");
  if (*checked == *parameters) return {};
  Json renamed = *function;
  renamed.set("parameters", std::move(*checked));
  tool.set("function", std::move(renamed));
  return {};
}

bool brings_tools(const Json& message) {
  const Json* role = message.find("role");
  return role != nullptr && role->is_string() &&
         (*role->as_string() == "system" || *role->as_string() == "developer");
}

bool has_tool(const Json::Array& tools, const std::string& name) {
  return std::any_of(tools.begin(), tools.end(),
                     [&name](const Json& tool) { return tool_name(tool) == name; });
}

// The schema of one call in a list of calls; its definitions move to `definitions`, where its
// references find them.
Result<Json> call_schema(const Json& tool, Json& definitions) {
  const Json* parameters = tool.find("function")->find_set("parameters");
  Json own = Json::object();
  if (parameters == nullptr) {
    own.set("type", Json::string("object"));
  } else if (parameters->is_object()) {
    for (const JsonMember& member : *parameters->as_object()) {
      if (member.key != "$defs") {
        own.set(member.key, member.value);
        continue;
      }
      for (const JsonMember& definition : *member.value.as_object()) {
        const Json* other = definitions.find(definition.key);
        if (other != nullptr && !(*other == definition.value)) {
          return invalid_argument("tools: two of them define " +
                                  brief(Json::string(definition.key)) + " in $defs, and not alike");
        }
        definitions.set(definition.key, definition.value);
      }
    }
  } else {
    own = *parameters;
  }
  Json names = Json::object();
  names.set("type", Json::string("string"));
  names.set("enum", Json::array({Json::string(tool_name(tool))}));
  Json properties = Json::object();
  properties.set("name", std::move(names));
  properties.set("parameters", std::move(own));
  Json schema = Json::object();
  schema.set("type", Json::string("object"));
  schema.set("properties", std::move(properties));
  schema.set("required", Json::array({Json::string("name"), Json::string("parameters")}));
  schema.set("additionalProperties", Json::boolean(false));
  return schema;
}

bool is_strict(const Json& tool) {
  const Json* strict = tool.find("function")->find_set("strict");
  return strict != nullptr && strict->as_bool().value_or(false);
}

}  // namespace

const std::string& tool_name(const Json& tool) {
  return *tool.find("function")->find("name")->as_string();
}

Status check_tools(Json::Array& tools) {
  if (tools.size() > kMaxTools) {
    return invalid_argument("tools: has " + std::to_string(tools.size()) +
                            " elements, expected at most " + std::to_string(kMaxTools));
  }
  for (std::size_t i = 0; i < tools.size(); ++i) {
    const Status status = check_tool(tools[i]);
    if (!status.ok()) return status.in("tools[" + std::to_string(i) + "]");
  }
  return {};
}

Result<Json::Array> all_tools(const ChatRequest& request) {
  Json::Array all = request.tools;
  for (std::size_t i = 0; i < request.messages.size(); ++i) {
    const Json& message = request.messages[i];
    // Those of the first message are replaced by the request's.
    if (!brings_tools(message) || (i == 0 && !request.tools.empty())) continue;
    const Json* given = message.find_set("tools");
    if (given == nullptr || !given->is_array()) continue;
    Json::Array own = *given->as_array();
    const std::string where = "messages[" + std::to_string(i) + "]";
    if (const Status status = check_tools(own); !status.ok()) return status.in(where);
    for (Json& tool : own) {
      if (has_tool(all, tool_name(tool))) {
        return Status(invalid_argument("tools: " + brief(Json::string(tool_name(tool))) +
                                       " is a tool already, expected names that differ"))
            .in(where);
      }
      if (all.size() == kMaxTools) {
        return invalid_argument("tools: there are more than " + std::to_string(kMaxTools));
      }
      all.push_back(std::move(tool));
    }
  }
  return all;
}

Status check_tool_choice(const ToolChoice& choice, const Json::Array& tools) {
  using Kind = ToolChoice::Kind;
  if (choice.kind == Kind::kAuto || choice.kind == Kind::kNone) return {};
  if (tools.empty()) {
    return invalid_argument("tool_choice: asks for a call, and there are no tools");
  }
  if (choice.kind == Kind::kNamed && !has_tool(tools, choice.name)) {
    return invalid_argument("tool_choice.function.name: was " + brief(Json::string(choice.name)) +
                            ", expected the name of one of the tools");
  }
  return {};
}

Result<wire::Constraint> json_calls_constraint(const ToolChoice& choice,
                                               const Json::Array& tools,
                                               bool parallel) {
  const bool named = choice.kind == ToolChoice::Kind::kNamed;
  Json definitions = Json::object();
  Json::Array calls;
  for (const Json& tool : tools) {
    if (named && tool_name(tool) != choice.name) continue;
    Result<Json> call = call_schema(tool, definitions);
    FATHOM_RETURN_IF_ERROR(call.status());
    calls.push_back(std::move(*call));
    if (named) break;
  }
  Json items = Json::object();
  items.set("anyOf", Json::array(std::move(calls)));
  Json schema = Json::object();
  schema.set("type", Json::string("array"));
  schema.set("minItems", Json::integer(1));
  if (named || !parallel) schema.set("maxItems", Json::integer(1));
  schema.set("items", std::move(items));
  if (!definitions.as_object()->empty()) schema.set("$defs", std::move(definitions));
  wire::Constraint constraint;
  constraint.kind = wire::ConstraintKind::kJsonSchema;
  constraint.text = to_json(schema);
  return constraint;
}

bool any_strict(const Json::Array& tools) {
  return std::any_of(tools.begin(), tools.end(), is_strict);
}

Result<wire::Constraint> dsml_calls_constraint(const ToolChoice& choice,
                                               const Json::Array& tools,
                                               bool parallel) {
  using Mode = grammar::ToolChoice::Mode;
  grammar::ToolChoice asked;
  asked.mode = choice.kind == ToolChoice::Kind::kNamed      ? Mode::kNamed
               : choice.kind == ToolChoice::Kind::kRequired ? Mode::kRequired
                                                            : Mode::kAuto;
  asked.name = choice.name;
  asked.parallel = parallel;
  std::vector<grammar::ToolSchema> schemas;
  for (const Json& tool : tools) {
    const Json* parameters = tool.find("function")->find_set("parameters");
    schemas.push_back(
        {tool_name(tool), parameters == nullptr ? Json() : *parameters, is_strict(tool)});
  }
  Result<std::string> tag = grammar::tool_call_tag(schemas, asked);
  if (!tag.ok()) return tag.status().in("tools");
  wire::Constraint constraint;
  constraint.kind = wire::ConstraintKind::kStructuralTag;
  constraint.text = std::move(*tag);
  return constraint;
}

}  // namespace fathom::api
