#include "api/responses_fields.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "api/chat_fields.h"
#include "api/constraint_fields.h"
#include "api/json_writer.h"
#include "api/openai_fields.h"
#include "api/responses_input.h"

namespace fathom::api {

namespace {

using ChoiceKind = ToolChoice::Kind;

const std::string* text_of(const Json& object, std::string_view name) {
  const Json* const value = object.find_set(name);
  return value == nullptr ? nullptr : value->as_string();
}

bool is_type(const Json& object, std::string_view type) {
  const std::string* const text = text_of(object, "type");
  return text != nullptr && *text == type;
}

void refuse_what_is_stored(FieldReader& fields) {
  for (const std::string_view name : {"previous_response_id", "conversation"}) {
    if (fields.find(name) == nullptr) continue;
    fields.refuse(Refusal::semantic(
        std::string(name) + ": nothing is stored here; send the whole conversation as input"));
  }
  if (fields.find("prompt") != nullptr) {
    fields.refuse(Refusal::semantic(
        "prompt: there are no prompt templates here; send their text as instructions and input"));
  }
  if (fields.boolean("background", false)) {
    fields.refuse(Refusal::semantic(
        "background: was true, expected false: nothing is stored here, so an answer is told to "
        "the request that asks for it"));
  }
  fields.boolean("store", true);  // without effect: whoever asks for it sees it is not there
}

// A flat tool as chat has it.
std::optional<Json> chat_tool(FieldReader& fields, const Json& tool, std::size_t index) {
  const std::string place = "tools[" + std::to_string(index) + "]";
  const Json::Object* const members = tool.as_object();
  if (members == nullptr) {
    fields.refuse(Refusal::shape(place + ": " + wrong_json_kind("an object", tool)));
    return std::nullopt;
  }
  if (!is_type(tool, "function")) {
    const Json* const type = tool.find("type");
    fields.refuse(Refusal::semantic(
        place + ".type: " + (type == nullptr ? "is missing" : "was " + brief(*type)) +
        ", expected \"function\": this server runs no tools"));
    return std::nullopt;
  }
  if (text_of(tool, "name") == nullptr) {
    fields.refuse(Refusal::shape(place + ".name: expected a string"));
    return std::nullopt;
  }
  Json function = Json::object();
  for (const JsonMember& member : *members) {
    if (member.key != "type") function.set(member.key, member.value);
  }
  Json out = Json::object();
  out.set("type", Json::string("function"));
  out.set("function", std::move(function));
  return out;
}

void read_tools(FieldReader& fields, ChatRequest& out) {
  const Json* const given = fields.find("tools");
  if (given == nullptr) return;
  if (!given->is_array()) {
    fields.refuse_kind("tools", *given, "an array");
    return;
  }
  for (std::size_t i = 0; i < given->as_array()->size(); ++i) {
    std::optional<Json> tool = chat_tool(fields, (*given->as_array())[i], i);
    if (!tool) return;
    out.tools.push_back(std::move(*tool));
  }
}

bool has_name(const Json& tool, const std::string& name) {
  return *tool.find("function")->find("name")->as_string() == name;
}

// {"type":"allowed_tools","mode":…,"tools":[{"type":"function","name":…}]}: the model hears of no
// others.
void read_allowed(FieldReader& fields, const Json& choice, ChatRequest& out) {
  const Json* const tools = choice.find_set("tools");
  const std::string* const mode = text_of(choice, "mode");
  if (tools == nullptr || !tools->is_array() || mode == nullptr ||
      (*mode != "auto" && *mode != "required")) {
    fields.refuse(Refusal::shape(
        "tool_choice: expected a list of tools and the mode auto or required with allowed_tools"));
    return;
  }
  std::vector<Json> allowed;
  for (std::size_t i = 0; i < tools->as_array()->size(); ++i) {
    const Json& one = (*tools->as_array())[i];
    const std::string* const name = text_of(one, "name");
    const auto found = std::find_if(out.tools.begin(), out.tools.end(), [&](const Json& tool) {
      return name != nullptr && has_name(tool, *name);
    });
    if (!is_type(one, "function") || found == out.tools.end()) {
      fields.refuse(Refusal::semantic("tool_choice.tools[" + std::to_string(i) +
                                      "]: expected {\"type\": \"function\", \"name\": …} with the "
                                      "name of one of the tools"));
      return;
    }
    allowed.push_back(*found);
  }
  out.tools = std::move(allowed);
  if (*mode == "required") out.tool_choice.kind = ChoiceKind::kRequired;
}

void read_choice(FieldReader& fields, ChatRequest& out) {
  constexpr std::string_view kName = "tool_choice";
  constexpr std::string_view kExpected =
      "auto, none, required, or an object of the type function or allowed_tools";
  const Json* const choice = fields.find(kName);
  if (choice == nullptr) return;
  if (choice->is_object() && is_type(*choice, "allowed_tools")) {
    read_allowed(fields, *choice, out);
  } else if (choice->is_object() && is_type(*choice, "function")) {
    const std::string* const name = text_of(*choice, "name");
    if (name == nullptr) {
      fields.refuse(Refusal::shape("tool_choice.name: expected a string"));
      return;
    }
    out.tool_choice = {ChoiceKind::kNamed, *name};
  } else if (const std::string* const word = choice->as_string()) {
    if (*word == "none") {
      out.tool_choice.kind = ChoiceKind::kNone;
    } else if (*word == "required") {
      out.tool_choice.kind = ChoiceKind::kRequired;
    } else if (*word != "auto") {
      fields.refuse_value(kName, *choice, kExpected);
    }
  } else {
    fields.refuse_value(kName, *choice, kExpected);
  }
}

// text.format, as response_format of chat with the members of json_schema beside its type.
void read_format(FieldReader& text, wire::Constraint& constraint) {
  const Json* const format = text.object("format");
  if (format == nullptr || is_type(*format, "text")) return;
  Json schema;
  if (is_type(*format, "json_object")) {
    schema = Json::object();
    schema.set("type", Json::string("object"));
  } else if (is_type(*format, "json_schema")) {
    const Json* const given = format->find_set("schema");
    if (given == nullptr || !given->is_object()) {
      text.refuse(Refusal::shape("text.format.schema: expected a JSON schema"));
      return;
    }
    schema = *given;
  } else {
    const Json* const type = format->find("type");
    text.refuse(Refusal::semantic(std::string("text.format.type: ") +
                                  (type == nullptr ? "is missing" : "was " + brief(*type)) +
                                  ", expected text, json_object or json_schema"));
    return;
  }
  if (constraint.kind != wire::ConstraintKind::kNone) {
    text.refuse(Refusal::semantic(
        "text.format: the request has another constraint already, expected at most one"));
    return;
  }
  Json body = Json::object();
  body.set("json_schema", std::move(schema));
  FieldReader inner(body, "text.format.");
  constraint = read_constraint(inner);
  if (inner.refusal()) text.refuse(*inner.refusal());
}

void read_text(FieldReader& fields, wire::Constraint& constraint) {
  const Json* const value = fields.object("text");
  if (value == nullptr) return;
  FieldReader text(*value, "text.");
  read_format(text, constraint);
  text.text("verbosity", "");
  if (text.refusal()) fields.refuse(*text.refusal());
}

// What does not concern log-probabilities tells nothing here that is not told anyway.
bool includes_logprobs(FieldReader& fields) {
  const Json* const include = fields.find("include");
  if (include == nullptr) return false;
  const Json::Array* const names = include->as_array();
  if (names == nullptr) {
    fields.refuse_kind("include", *include, "an array of strings");
    return false;
  }
  bool found = false;
  for (const Json& name : *names) {
    if (!name.is_string()) {
      fields.refuse_kind("include", name, "an array of strings");
      return false;
    }
    found = found || *name.as_string() == "message.output_text.logprobs";
  }
  return found;
}

void read_truncation(FieldReader& fields) {
  const Json* const value = fields.find("truncation");
  if (value == nullptr) return;
  const std::string* const word = value->as_string();
  if (word == nullptr || (*word != "auto" && *word != "disabled")) {
    fields.refuse_value("truncation", *value, "auto or disabled");
  }
}

// The member as it was given, or `fallback`, which is JSON.
void repeat(JsonWriter& writer,
            const FieldReader& fields,
            std::string_view name,
            std::string_view fallback) {
  const Json* const value = fields.find(name);
  writer.raw(name, value == nullptr ? std::string(fallback) : to_json(*value));
}

void repeat_text(JsonWriter& writer, FieldReader& fields) {
  const Json* const text = fields.object("text");
  const Json* const format = text == nullptr ? nullptr : text->find_set("format");
  const Json* const verbosity = text == nullptr ? nullptr : text->find_set("verbosity");
  writer.begin_object("text")
      .raw("format", format == nullptr ? R"({"type":"text"})" : to_json(*format))
      .raw("verbosity", verbosity == nullptr ? R"("medium")" : to_json(*verbosity))
      .end_object();
}

void repeat_reasoning(JsonWriter& writer, FieldReader& fields) {
  const Json* const reasoning = fields.object("reasoning");
  writer.begin_object("reasoning");
  for (const std::string_view name : {"effort", "summary"}) {
    const Json* const value = reasoning == nullptr ? nullptr : reasoning->find_set(name);
    writer.raw(name, value == nullptr || !value->is_string() ? "null" : to_json(*value));
  }
  writer.end_object();
}

}  // namespace

void read_response_fields(FieldReader& fields, bool default_thinking, ChatRequest& out) {
  constexpr std::int64_t kMostTokens = std::numeric_limits<std::int32_t>::max();
  refuse_what_is_stored(fields);
  out.messages = read_input(fields, fields.text("instructions", ""));
  read_tools(fields, out);
  if (fields.ok()) read_choice(fields, out);
  out.parallel_tool_calls = fields.boolean("parallel_tool_calls", true);
  out.thinking = read_thinking(fields, default_thinking);
  for (const std::string_view name : {"chat_template_kwargs", "reasoning_effort", "reasoning"}) {
    if (const Json* const value = fields.find(name)) out.template_fields.set(name, *value);
  }
  if (const auto most = fields.integer("max_output_tokens", 1, kMostTokens)) {
    out.sampling.max_new_tokens = static_cast<std::int32_t>(*most);
  }
  if (out.sampling.samples != 1) {
    fields.refuse(Refusal::semantic("n: was " + std::to_string(out.sampling.samples) +
                                    ", expected 1: a response has one answer"));
  }
  read_text(fields, out.sampling.constraint);
  const auto top = fields.integer("top_logprobs", 0, wire::kMaxTopLogprobs);
  out.top_logprobs = static_cast<std::int32_t>(top.value_or(0));
  out.logprobs = includes_logprobs(fields) || out.top_logprobs > 0;
  read_truncation(fields);
  fields.object("metadata");
  fields.integer("max_tool_calls", 0, kMostTokens);
}

std::string response_settings(FieldReader& fields, const ChatRequest& request) {
  std::string out;
  JsonWriter writer(out);
  writer.string("model", fields.name_text("model", "default"));
  for (const std::string_view name : {"instructions", "max_output_tokens", "max_tool_calls", "user",
                                      "safety_identifier", "prompt_cache_key"}) {
    repeat(writer, fields, name, "null");
  }
  repeat(writer, fields, "metadata", "{}");
  repeat(writer, fields, "tools", "[]");
  repeat(writer, fields, "tool_choice", R"("auto")");
  repeat(writer, fields, "truncation", R"("disabled")");
  repeat_text(writer, fields);
  repeat_reasoning(writer, fields);
  writer.boolean("parallel_tool_calls", request.parallel_tool_calls)
      .key("temperature")
      .real(request.sampling.params.temperature)
      .key("top_p")
      .real(request.sampling.params.top_p)
      .integer("top_logprobs", request.top_logprobs)
      .boolean("store", false)
      .boolean("background", false)
      .null("previous_response_id")
      .string("service_tier", "default");
  return out;
}

}  // namespace fathom::api
