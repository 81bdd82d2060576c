#include "api/chat_prompt.h"

#include <string>
#include <string_view>
#include <utility>

#include "text/chat_encoding.h"

namespace fathom::api {

namespace {

constexpr std::string_view kThink = "<think>";
constexpr std::string_view kEndThink = "</think>";

bool has_role(const Json& message, std::string_view name) {
  const Json* const role = message.find("role");
  return role != nullptr && role->as_string() != nullptr && *role->as_string() == name;
}

// What the beginning of the answer does with thoughts.
void follow_thoughts(std::string_view begun, EncodedChat& out) {
  const std::size_t opened = begun.rfind(kThink);
  const std::size_t closed = begun.rfind(kEndThink);
  if (opened == std::string_view::npos && closed == std::string_view::npos) return;
  out.thoughts_closed =
      closed != std::string_view::npos && (opened == std::string_view::npos || closed > opened);
  out.in_thoughts = !out.thoughts_closed;
}

Json tool_choice_json(const ToolChoice& choice) {
  switch (choice.kind) {
    case ToolChoice::Kind::kAuto:
      return Json::string("auto");
    case ToolChoice::Kind::kNone:
      return Json::string("none");
    case ToolChoice::Kind::kRequired:
      return Json::string("required");
    case ToolChoice::Kind::kNamed:
      break;
  }
  Json function = Json::object();
  function.set("name", Json::string(choice.name));
  Json json = Json::object();
  json.set("type", Json::string("function"));
  json.set("function", std::move(function));
  return json;
}

Result<std::string> render(const text::ChatTemplate* chat_template,
                           const ChatRequest& request,
                           const std::vector<Json>& messages) {
  if (chat_template == nullptr) {
    text::ChatEncodingOptions options;
    options.thinking = request.thinking;
    options.tools = request.tools.empty() ? nullptr : &request.tools;
    return text::encode_chat(messages, options);
  }
  Json body = request.template_fields;
  if (!request.tools.empty()) {
    body.set("tools", Json::array(request.tools));
    body.set("tool_choice", tool_choice_json(request.tool_choice));
  }
  return chat_template->render({.body = &body, .messages = messages, .thinking = request.thinking});
}

}  // namespace

std::optional<Refusal> encode_chat(const text::Tokenizer& tokenizer,
                                   const text::ChatTemplate* chat_template,
                                   const ChatRequest& request,
                                   EncodedChat& out) {
  if (request.messages.empty()) {
    return Refusal::semantic("messages: is empty, expected at least one");
  }
  std::vector<Json> messages = request.messages;
  std::optional<Json> begun;  // the answer that is to be continued
  if (has_role(messages.back(), "assistant")) {
    if (request.continue_final_message) {
      begun = std::move(messages.back());
      messages.pop_back();
    } else {
      messages.back().set("role", Json::string("user"));
    }
  }
  Result<std::string> prompt = render(chat_template, request, messages);
  if (!prompt.ok()) return Refusal::semantic(prompt.status().message());
  out.in_thoughts = request.thinking;
  std::string text;
  if (begun) {
    Result<std::string> given = text::message_text(*begun);
    if (!given.ok()) {
      return Refusal::semantic(
          given.status().in("messages[" + std::to_string(messages.size()) + "]").message());
    }
    text = std::move(*given);
    follow_thoughts(text, out);
  }
  if (chat_template != nullptr) {
    out.tokens = tokenizer.encode(*prompt + text);
    return std::nullopt;
  }
  out.tokens = tokenizer.encode(*prompt);
  if (text.empty()) return std::nullopt;
  const std::vector<wire::TokenId> tokens = tokenizer.encode(text);
  // A beginning of sequence belongs to the beginning alone.
  const bool begins = !tokens.empty() && tokens.front() == tokenizer.bos_id();
  out.tokens.insert(out.tokens.end(), tokens.begin() + (begins ? 1 : 0), tokens.end());
  return std::nullopt;
}

}  // namespace fathom::api
