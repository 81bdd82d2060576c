#include "api/messages_fields.h"

#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include "api/message_turns.h"
#include "api/schema_check.h"

namespace fathom::api {

namespace {

void refuse(FieldReader& fields, std::string_view name, const Status& status) {
  if (!status.ok()) fields.refuse(Refusal::semantic(status.in(fields.path(name)).message()));
}

// An Anthropic tool as a function of OpenAI's form.
Result<Json> read_tool(const Json& tool) {
  if (!tool.is_object()) return invalid_argument(wrong_json_kind("an object", tool));
  const Json* const type = tool.find_set("type");
  if (type != nullptr && !(type->is_string() && *type->as_string() == "custom")) {
    return invalid_argument("type: was " + brief(*type) +
                            ", expected custom or none: there are no server tools here");
  }
  const Json* const name = tool.find_set("name");
  if (name == nullptr || !name->is_string() || name->as_string()->empty()) {
    return invalid_argument("name: expected a string that is not empty");
  }
  const Json* const schema = tool.find_set("input_schema");
  if (schema == nullptr) return invalid_argument("input_schema: is missing");
  if (!schema->is_object()) {
    return invalid_argument("input_schema: " + wrong_json_kind("an object", *schema));
  }
  if (const Status status = checked_schema(*schema).status(); !status.ok()) {
    return status.in("input_schema");
  }
  Json function = Json::object();
  function.set("name", *name);
  for (const std::string_view member : {"description", "strict"}) {
    if (const Json* const value = tool.find_set(member)) function.set(member, *value);
  }
  function.set("parameters", *schema);
  Json out = Json::object();
  out.set("type", Json::string("function"));
  out.set("function", std::move(function));
  return out;
}

void read_tools(FieldReader& fields, Json::Array& out) {
  const Json* const given = fields.find("tools");
  if (given == nullptr) return;
  if (!given->is_array()) {
    fields.refuse_kind("tools", *given, "an array");
    return;
  }
  for (std::size_t i = 0; i < given->as_array()->size() && fields.ok(); ++i) {
    Result<Json> tool = read_tool((*given->as_array())[i]);
    refuse(fields, "tools[" + std::to_string(i) + "]", tool.status());
    if (tool.ok()) out.push_back(std::move(*tool));
  }
}

bool has_tool(const Json::Array& tools, std::string_view name) {
  for (const Json& tool : tools) {
    if (*tool.find("function")->find("name")->as_string() == name) return true;
  }
  return false;
}

void read_tool_choice(FieldReader& fields, ChatRequest& out) {
  using Kind = ToolChoice::Kind;
  const Json* const given = fields.object("tool_choice");
  if (given == nullptr) return;
  FieldReader inner(*given, "tool_choice.");
  const std::string type = inner.text("type", "");
  out.parallel_tool_calls = !inner.boolean("disable_parallel_tool_use", false);
  if (type == "any") {
    out.tool_choice.kind = Kind::kRequired;
  } else if (type == "none") {
    out.tool_choice.kind = Kind::kNone;
  } else if (type == "tool") {
    out.tool_choice = {Kind::kNamed, inner.text("name", "")};
    if (!has_tool(out.tools, out.tool_choice.name)) {
      inner.refuse_value("name", Json::string(out.tool_choice.name),
                         "the name of one of the tools");
    }
  } else if (type != "auto") {
    inner.refuse_value("type", Json::string(type), "auto, any, tool or none");
  }
  if (inner.refusal()) fields.refuse(*inner.refusal());
}

// Whether the body asks for thoughts, when it says.
std::optional<bool> read_thinking(FieldReader& fields) {
  const Json* const given = fields.object("thinking");
  if (given == nullptr) return std::nullopt;
  FieldReader inner(*given, "thinking.");
  const std::string type = inner.text("type", "");
  inner.integer("budget_tokens", 0, std::numeric_limits<std::int64_t>::max());
  if (type != "enabled" && type != "adaptive" && type != "disabled") {
    inner.refuse_value("type", Json::string(type), "enabled, adaptive or disabled");
  }
  if (inner.refusal()) fields.refuse(*inner.refusal());
  return type != "disabled";
}

bool ends_with_assistant(const Json::Array& messages) {
  return !messages.empty() && *messages.back().find("role")->as_string() == "assistant";
}

// {"type":"json_schema","schema":…} as OpenAI's response_format.
Json response_format(FieldReader& fields, std::string_view name, const Json& format) {
  const Json* const type = format.find_set("type");
  if (type == nullptr || !type->is_string() || *type->as_string() != "json_schema") {
    fields.refuse(Refusal::semantic(fields.path(name) + ".type: expected json_schema"));
    return {};
  }
  return format;
}

// The format of the answer; null: text.
Json read_format(FieldReader& fields) {
  if (const Json* const config = fields.object("output_config")) {
    FieldReader inner(*config, "output_config.");
    const Json* const format = inner.object("format");
    Json out = format == nullptr ? Json() : response_format(inner, "format", *format);
    if (inner.refusal()) fields.refuse(*inner.refusal());
    if (format != nullptr) return out;
  }
  const Json* const format = fields.object("output_format");
  return format == nullptr ? Json() : response_format(fields, "output_format", *format);
}

// stop_sequences, so that what is wrong with them is told under their name.
Json read_stops(FieldReader& fields) {
  constexpr std::string_view kName = "stop_sequences";
  const Json* const given = fields.find(kName);
  if (given == nullptr) return {};
  if (!given->is_array()) {
    fields.refuse_kind(kName, *given, "an array");
    return {};
  }
  const Json::Array& stops = *given->as_array();
  if (stops.size() > kMaxStopStrings) {
    fields.refuse(Refusal::semantic(fields.path(kName) + ": has " + std::to_string(stops.size()) +
                                    " elements, expected at most " +
                                    std::to_string(kMaxStopStrings)));
  }
  for (const Json& stop : stops) {
    const std::string* const text = stop.as_string();
    if (text == nullptr || text->empty() || text->size() > kMaxStopBytes) {
      fields.refuse_value(kName, stop,
                          "strings of 1 to " + std::to_string(kMaxStopBytes) + " bytes");
    }
  }
  return *given;
}

}  // namespace

void read_messages_conversation(FieldReader& fields, bool default_thinking, ChatRequest& out) {
  fields.not_built_unless_empty("mcp_servers");
  const Json* const messages = fields.find("messages");
  if (messages == nullptr) {
    fields.refuse(Refusal::shape("messages: is missing"));
    return;
  }
  if (const Status status = read_turns(fields.find("system"), *messages, out.messages);
      !status.ok()) {
    fields.refuse(Refusal::semantic(status.message()));
  }
  read_tools(fields, out.tools);
  read_tool_choice(fields, out);
  const std::optional<bool> thinking = read_thinking(fields);
  out.thinking = thinking.value_or(default_thinking);
  if (!ends_with_assistant(out.messages)) return;
  out.continue_final_message = true;
  out.thinking = false;
  if (thinking.value_or(false)) {
    fields.refuse(
        Refusal::semantic("thinking: an answer that messages begin already has no thoughts before "
                          "it; end them with the user, or disable thinking"));
  }
}

SamplingFields read_messages_sampling(FieldReader& fields, const ServiceOptions& options) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  if (fields.find("max_tokens") == nullptr) fields.refuse(Refusal::shape("max_tokens: is missing"));
  const std::int64_t most = fields.integer("max_tokens", 1, kMost).value_or(1);
  Json body = Json::object();
  for (const std::string_view name :
       {"temperature", "top_p", "top_k", "min_p", "seed", "ignore_eos"}) {
    if (const Json* const value = fields.find(name)) body.set(name, *value);
  }
  body.set("stop", read_stops(fields));
  body.set("response_format", read_format(fields));
  FieldReader inner(body);
  SamplingFields out =
      read_sampling(inner, SamplingDialect::kOpenAi, options.sampling_defaults, options);
  if (inner.refusal()) fields.refuse(*inner.refusal());
  out.max_new_tokens = static_cast<std::int32_t>(most);
  return out;
}

}  // namespace fathom::api
