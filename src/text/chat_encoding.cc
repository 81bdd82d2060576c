#include "text/chat_encoding.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "text/chat_markers.h"
#include "text/python_json.h"

namespace fathom::text {

namespace {

enum class Role : std::uint8_t { kSystem, kDeveloper, kUser, kAssistant, kTool };

constexpr std::string_view kTextPart = "text";

Result<Role> role_of(const Json& message) {
  constexpr std::pair<std::string_view, Role> kRoles[] = {{"system", Role::kSystem},
                                                          {"developer", Role::kDeveloper},
                                                          {"user", Role::kUser},
                                                          {"assistant", Role::kAssistant},
                                                          {"tool", Role::kTool}};
  if (!message.is_object()) return invalid_argument(wrong_json_kind("an object", message));
  const Json* const role = message.find("role");
  const std::string* const name = role == nullptr ? nullptr : role->as_string();
  if (name != nullptr) {
    for (const auto& [word, value] : kRoles) {
      if (*name == word) return value;
    }
  }
  return Status(invalid_argument("expected system, developer, user, assistant or tool, was " +
                                 (role == nullptr ? "absent" : to_json(*role))))
      .in("role");
}

Result<std::string> content_of(const Json& message) {
  const Json* const content = message.find_set("content");
  if (content == nullptr) return std::string();
  if (const std::string* const text = content->as_string()) return *text;
  const Json::Array* const parts = content->as_array();
  if (parts == nullptr) {
    return invalid_argument("content: " +
                            wrong_json_kind("a string or an array of text parts", *content));
  }
  std::string joined;
  for (std::size_t i = 0; i < parts->size(); ++i) {
    const Json* const type = (*parts)[i].find("type");
    const Json* const text = (*parts)[i].find("text");
    const bool is_text = type != nullptr && type->as_string() != nullptr &&
                         *type->as_string() == kTextPart && text != nullptr &&
                         text->as_string() != nullptr;
    if (!is_text) {
      return invalid_argument(
          "content[" + std::to_string(i) +
          "]: expected {\"type\": \"text\", \"text\": …}; this model reads text "
          "alone");
    }
    if (i > 0) joined += ' ';
    joined += *text->as_string();
  }
  return joined;
}

// An optional text; null and absent are empty.
Result<std::string> text_member(const Json& message, std::string_view name) {
  const Json* const value = message.find_set(name);
  if (value == nullptr) return std::string();
  if (const std::string* const text = value->as_string()) return *text;
  return invalid_argument(std::string(name) + ": " + wrong_json_kind("a string", *value));
}

// An optional array; null when it is absent, null or empty.
Result<const Json::Array*> array_member(const Json& message, std::string_view name) {
  const Json* const value = message.find_set(name);
  if (value == nullptr) return static_cast<const Json::Array*>(nullptr);
  const Json::Array* const array = value->as_array();
  if (array == nullptr) {
    return invalid_argument(std::string(name) + ": " + wrong_json_kind("an array", *value));
  }
  return array->empty() ? nullptr : array;
}

// The object that describes the function of a tool or of a tool call.
Result<const Json*> function_of(const Json& holder) {
  const Json* const function = holder.find("function");
  if (function == nullptr || !function->is_object()) {
    return invalid_argument("expected {\"type\": \"function\", \"function\": {…}}, was " +
                            std::string(json_kind_name(holder.kind())) +
                            (holder.is_object() ? " without the object function" : ""));
  }
  const Json* const name = function->find("name");
  if (name == nullptr || name->as_string() == nullptr) {
    return invalid_argument("function.name: expected a string");
  }
  return function;
}

std::string place(std::string_view list, std::size_t index) {
  return std::string(list) + "[" + std::to_string(index) + "]";
}

class Renderer {
 public:
  Renderer(std::span<const Json> messages, const ChatEncodingOptions& options)
      : messages_(messages), options_(options) {}

  Result<std::string> run();

 private:
  // Everything below is about one message.
  Status render(std::size_t index);
  Status append_system(std::size_t index);
  Status append_developer(std::size_t index);
  Status append_user(std::size_t index);
  Status append_assistant(std::size_t index);
  Status append_tool_result(std::size_t index);

  // The block of tools, when there are any.
  Status append_tools(const Json::Array* tools);
  Status append_own_tools(const Json& message);
  void append_response_format(const Json& message);
  Status append_tool_call(const Json& call);
  // What makes the model answer: with thoughts behind `turn`, or without.
  void append_turn(std::size_t index);
  void append_think(bool thinking) { out_ += thinking ? kThink : kEndThink; }

  // Whether a place belongs to the answer of the last question, where thoughts are kept.
  bool after_last_question(std::size_t index) const {
    return !last_question_ || index > *last_question_;
  }

  std::span<const Json> messages_;
  ChatEncodingOptions options_;
  std::vector<Role> roles_;
  std::optional<std::size_t> last_question_;  // the last message of a user or developer
  std::string out_;
};

Result<std::string> Renderer::run() {
  for (std::size_t i = 0; i < messages_.size(); ++i) {
    const Result<Role> role = role_of(messages_[i]);
    FATHOM_RETURN_IF_ERROR(role.status().in(place("messages", i)));
    roles_.push_back(*role);
    if (*role == Role::kUser || *role == Role::kDeveloper) last_question_ = i;
  }
  if (options_.begin && options_.first_message == 0) out_ += kBeginOfSentence;
  if (options_.tools != nullptr && (roles_.empty() || roles_.front() != Role::kSystem)) {
    FATHOM_RETURN_IF_ERROR(append_tools(options_.tools));
  }
  for (std::size_t i = options_.first_message; i < messages_.size(); ++i) {
    FATHOM_RETURN_IF_ERROR(render(i).in(place("messages", i)));
  }
  return std::move(out_);
}

Status Renderer::render(std::size_t index) {
  switch (roles_[index]) {
    case Role::kSystem:
      return append_system(index);
    case Role::kDeveloper:
      return append_developer(index);
    case Role::kUser:
      return append_user(index);
    case Role::kAssistant:
      return append_assistant(index);
    case Role::kTool:
      break;
  }
  return append_tool_result(index);
}

Status Renderer::append_own_tools(const Json& message) {
  const Result<const Json::Array*> tools = array_member(message, "tools");
  FATHOM_RETURN_IF_ERROR(tools.status());
  return append_tools(*tools);
}

Status Renderer::append_tools(const Json::Array* tools) {
  if (tools == nullptr || tools->empty()) return {};
  std::string schemas;
  for (std::size_t i = 0; i < tools->size(); ++i) {
    const Result<const Json*> function = function_of((*tools)[i]);
    FATHOM_RETURN_IF_ERROR(function.status().in(place("tools", i)));
    if (i > 0) schemas += '\n';
    append_python_json(schemas, **function);
  }
  out_ += "\n\n";
  append_tools_block(out_, schemas, options_.tools_block == ToolsBlock::kOfficial);
  return {};
}

void Renderer::append_response_format(const Json& message) {
  const Json* const format = message.find_set("response_format");
  if (format == nullptr) return;
  out_ += kResponseFormatIntroduction;
  append_python_json(out_, *format);
}

Status Renderer::append_system(std::size_t index) {
  const Json& message = messages_[index];
  const Result<std::string> content = content_of(message);
  FATHOM_RETURN_IF_ERROR(content.status());
  out_ += *content;
  const bool of_request = index == 0 && options_.tools != nullptr && !options_.tools->empty();
  FATHOM_RETURN_IF_ERROR(of_request ? append_tools(options_.tools) : append_own_tools(message));
  append_response_format(message);
  return {};
}

void Renderer::append_turn(std::size_t index) {
  out_ += kAssistant;
  append_think(options_.thinking && index == last_question_);
}

Status Renderer::append_user(std::size_t index) {
  const Result<std::string> content = content_of(messages_[index]);
  FATHOM_RETURN_IF_ERROR(content.status());
  out_ += kUser;
  out_ += *content;
  append_turn(index);
  return {};
}

Status Renderer::append_developer(std::size_t index) {
  const Json& message = messages_[index];
  const Result<std::string> content = content_of(message);
  FATHOM_RETURN_IF_ERROR(content.status());
  if (content->empty()) {
    return invalid_argument("content: is empty, a developer's message needs one");
  }
  out_ += kUser;
  FATHOM_RETURN_IF_ERROR(append_own_tools(message));
  append_response_format(message);
  out_ += kUsersMessage;
  out_ += *content;
  append_turn(index);
  return {};
}

Status Renderer::append_tool_call(const Json& call) {
  const Result<const Json*> function = function_of(call);
  FATHOM_RETURN_IF_ERROR(function.status());
  const Json* arguments = (*function)->find("arguments");
  Result<Json> parsed = Json::object();
  if (arguments != nullptr && arguments->as_string() != nullptr) {
    parsed = parse_json(*arguments->as_string());
    FATHOM_RETURN_IF_ERROR(parsed.status().in("function.arguments"));
    arguments = &*parsed;
  }
  if (arguments == nullptr || !arguments->is_object()) {
    return invalid_argument("function.arguments: expected a JSON object, or one as a string");
  }
  out_ += "<｜DSML｜invoke name=\"" + *(*function)->find("name")->as_string() + "\">\n";
  std::string_view between;
  for (const JsonMember& member : *arguments->as_object()) {
    out_ += between;
    between = "\n";
    const std::string* const text = member.value.as_string();
    out_ += "<｜DSML｜parameter name=\"" + member.key + "\" string=\"";
    out_ += text != nullptr ? "true\">" : "false\">";
    if (text != nullptr) {
      out_ += *text;
    } else {
      append_python_json(out_, member.value);
    }
    out_ += "</｜DSML｜parameter>";
  }
  out_ += "\n</｜DSML｜invoke>";
  return {};
}

Status Renderer::append_assistant(std::size_t index) {
  const Json& message = messages_[index];
  const Result<std::string> content = content_of(message);
  FATHOM_RETURN_IF_ERROR(content.status());
  Result<std::string> reasoning = text_member(message, "reasoning_content");
  FATHOM_RETURN_IF_ERROR(reasoning.status());
  if (reasoning->empty()) reasoning = text_member(message, "reasoning");
  FATHOM_RETURN_IF_ERROR(reasoning.status());
  const Result<const Json::Array*> calls = array_member(message, "tool_calls");
  FATHOM_RETURN_IF_ERROR(calls.status());

  if (options_.thinking && after_last_question(index)) {
    if (reasoning->empty() && *calls == nullptr) {
      return invalid_argument(
          "behind the last question and with thinking on, an assistant's message needs "
          "reasoning_content or tool_calls");
    }
    out_ += *reasoning;
    out_ += kEndThink;
  }
  out_ += *content;
  if (*calls != nullptr) {
    out_ += "\n\n<｜DSML｜function_calls>\n";
    for (std::size_t i = 0; i < (*calls)->size(); ++i) {
      if (i > 0) out_ += '\n';
      FATHOM_RETURN_IF_ERROR(append_tool_call((**calls)[i]).in(place("tool_calls", i)));
    }
    out_ += "\n</｜DSML｜function_calls>";
  }
  out_ += kEndOfSentence;
  return {};
}

Status Renderer::append_tool_result(std::size_t index) {
  std::size_t caller = index;
  while (caller > 0 && roles_[caller] == Role::kTool) --caller;
  const bool called = roles_[caller] == Role::kAssistant;
  const Result<const Json::Array*> calls =
      called ? array_member(messages_[caller], "tool_calls")
             : Result<const Json::Array*>(static_cast<const Json::Array*>(nullptr));
  FATHOM_RETURN_IF_ERROR(calls.status());
  if (*calls == nullptr) {
    return invalid_argument("a tool's message must come behind an assistant's with tool_calls");
  }
  const std::size_t place_of_result = index - caller;  // from 1
  if (place_of_result > (*calls)->size()) {
    return invalid_argument("is result " + std::to_string(place_of_result) + " of messages[" +
                            std::to_string(caller) + "], which has " +
                            std::to_string((*calls)->size()) + " tool_calls");
  }
  const Result<std::string> content = content_of(messages_[index]);
  FATHOM_RETURN_IF_ERROR(content.status());
  if (place_of_result == 1) out_ += "\n\n<function_results>";
  out_ += "\n<result>" + *content + "</result>";
  if (place_of_result == (*calls)->size()) {
    out_ += "\n</function_results>\n\n";
    append_think(options_.thinking && after_last_question(index));
  }
  return {};
}

}  // namespace

Result<std::string> encode_chat(std::span<const Json> messages,
                                const ChatEncodingOptions& options) {
  return Renderer(messages, options).run();
}

Result<std::string> message_text(const Json& message) { return content_of(message); }

}  // namespace fathom::text
