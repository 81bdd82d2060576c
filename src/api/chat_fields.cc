#include "api/chat_fields.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

namespace fathom::api {

namespace {

// An effort in words, or as a fraction. Only whether there is any matters to this model.
std::optional<bool> read_effort(FieldReader& fields, std::string_view name) {
  constexpr std::array<std::string_view, 6> kEfforts{"minimal", "low",   "medium",
                                                     "high",    "xhigh", "max"};
  constexpr double kMostEffort = 0.99;
  const Json* value = fields.find(name);
  if (value == nullptr) return std::nullopt;
  if (const std::string* word = value->as_string()) {
    if (*word == "none") return false;
    if (std::find(kEfforts.begin(), kEfforts.end(), *word) != kEfforts.end()) return true;
  } else if (const std::optional<double> fraction = value->as_double()) {
    if (*fraction >= 0 && *fraction <= kMostEffort) return true;
  }
  fields.refuse_value(name, *value,
                      "none, minimal, low, medium, high, xhigh, max or a number from 0 to 0.99");
  return std::nullopt;
}

std::optional<bool> read_reasoning(FieldReader& fields) {
  const Json* value = fields.object("reasoning");
  if (value == nullptr) return std::nullopt;
  FieldReader inner(*value, "reasoning.");
  const bool enabled = inner.boolean("enabled", false);
  const std::optional<bool> effort = read_effort(inner, "effort");
  if (inner.refusal()) fields.refuse(*inner.refusal());
  return inner.find("enabled") != nullptr ? std::optional(enabled) : effort;
}

}  // namespace

bool read_thinking(FieldReader& fields, bool fallback) {
  // All of them are read, so that one that is wrong is refused even where another decides.
  const std::optional<bool> effort = read_effort(fields, "reasoning_effort");
  const std::optional<bool> reasoning = read_reasoning(fields);
  if (const Json* arguments = fields.object("chat_template_kwargs")) {
    for (const std::string_view name : {"thinking", "enable_thinking"}) {
      if (const Json* value = arguments->find_set(name)) return truthy(*value);
    }
  }
  return reasoning.value_or(effort.value_or(fallback));
}

std::optional<std::int32_t> read_max_tokens(FieldReader& fields) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  const auto completion = fields.integer("max_completion_tokens", 0, kMost);
  const auto tokens = fields.integer("max_tokens", 0, kMost);
  const std::int64_t most = completion.value_or(0) > 0 ? *completion : tokens.value_or(0);
  if (most == 0) return std::nullopt;
  return static_cast<std::int32_t>(most);
}

namespace {

void read_messages(FieldReader& fields, ChatRequest& out) {
  const Json* given = fields.find("messages");
  if (given == nullptr) {
    fields.refuse(Refusal::shape("messages: is missing"));
    return;
  }
  if (!given->is_array()) {
    fields.refuse_kind("messages", *given, "an array");
    return;
  }
  out.messages = *given->as_array();
  for (Json& message : out.messages) {
    const Json* role = message.find("role");
    if (role == nullptr || !role->is_string()) continue;
    std::string name = *role->as_string();
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (name != *role->as_string()) message.set("role", Json::string(std::move(name)));
  }
}

void read_tools(FieldReader& fields, ChatRequest& out) {
  const Json* given = fields.find("tools");
  if (given == nullptr) return;
  if (given->is_array()) {
    out.tools = *given->as_array();
  } else {
    fields.refuse_kind("tools", *given, "an array");
  }
}

// The function that the object names.
void read_named_choice(FieldReader& fields, const Json& value, ToolChoice& out) {
  const Json* function = value.find_set("function");
  const Json* name = function == nullptr ? nullptr : function->find("name");
  if (name == nullptr || !name->is_string()) {
    fields.refuse(
        Refusal::shape(R"(tool_choice: expected {"type": "function", "function": {"name": …}})"));
    return;
  }
  out.kind = ToolChoice::Kind::kNamed;
  out.name = *name->as_string();
}

void read_tool_choice(FieldReader& fields, ToolChoice& out) {
  constexpr std::string_view kName = "tool_choice";
  const Json* value = fields.find(kName);
  if (value == nullptr) return;
  if (value->is_object()) {
    read_named_choice(fields, *value, out);
    return;
  }
  const std::string* word = value->as_string();
  if (word == nullptr) {
    fields.refuse_kind(kName, *value, "a string or an object");
  } else if (*word == "none") {
    out.kind = ToolChoice::Kind::kNone;
  } else if (*word == "required") {
    out.kind = ToolChoice::Kind::kRequired;
  } else if (*word != "auto") {
    fields.refuse_value(kName, *value, "auto, none, required or a function");
  }
}

}  // namespace

void read_conversation(FieldReader& fields, bool default_thinking, ChatRequest& out) {
  read_messages(fields, out);
  read_tools(fields, out);
  read_tool_choice(fields, out.tool_choice);
  out.parallel_tool_calls = fields.boolean("parallel_tool_calls", true);
  out.thinking = read_thinking(fields, default_thinking);
  for (const std::string_view name : {"chat_template_kwargs", "reasoning_effort", "reasoning"}) {
    if (const Json* const value = fields.find(name)) out.template_fields.set(name, *value);
  }
  out.continue_final_message = fields.boolean("continue_final_message", false);
  out.separate_reasoning = fields.boolean("separate_reasoning", true);
  out.stream_reasoning = fields.boolean("stream_reasoning", true);
}

}  // namespace fathom::api
