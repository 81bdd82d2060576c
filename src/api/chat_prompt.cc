#include "api/chat_prompt.h"

#include <string>
#include <utility>

#include "api/request_fields.h"
#include "text/chat_encoding.h"

namespace fathom::api {

namespace {

bool has_role(const Json& message, std::string_view name) {
  const Json* const role = message.find("role");
  return role != nullptr && role->as_string() != nullptr && *role->as_string() == name;
}

}  // namespace

std::optional<Refusal> encode_chat(const text::Tokenizer& tokenizer,
                                   const text::ChatTemplate* chat_template,
                                   const Json& body,
                                   bool thinking,
                                   std::vector<wire::TokenId>& out) {
  FieldReader fields(body);
  const bool continues = fields.boolean("continue_final_message", false);
  if (fields.refusal()) return fields.refusal();
  const Json* const given = body.find_set("messages");
  if (given == nullptr) return Refusal::shape("messages: is missing");
  if (!given->is_array()) {
    return Refusal::shape("messages: " + wrong_json_kind("an array", *given));
  }
  std::vector<Json> messages = *given->as_array();
  if (messages.empty()) return Refusal::semantic("messages: is empty, expected at least one");
  const Json* const tools = body.find_set("tools");
  if (tools != nullptr && !tools->is_array()) {
    return Refusal::shape("tools: " + wrong_json_kind("an array", *tools));
  }

  std::optional<Json> begun;  // the answer that is to be continued
  if (has_role(messages.back(), "assistant")) {
    if (continues) {
      begun = std::move(messages.back());
      messages.pop_back();
    } else {
      messages.back().set("role", Json::string("user"));
    }
  }
  if (chat_template != nullptr) {
    Result<std::string> prompt =
        chat_template->render({.body = &body, .messages = messages, .thinking = thinking});
    if (!prompt.ok()) return Refusal::semantic(prompt.status().message());
    if (begun) {
      const Result<std::string> text = text::message_text(*begun);
      if (!text.ok()) {
        return Refusal::semantic(
            text.status().in("messages[" + std::to_string(messages.size()) + "]").message());
      }
      *prompt += *text;
    }
    out = tokenizer.encode(*prompt);
    return std::nullopt;
  }
  text::ChatEncodingOptions options;
  options.thinking = thinking;
  options.tools = tools == nullptr ? nullptr : tools->as_array();
  const Result<std::string> prompt = text::encode_chat(messages, options);
  if (!prompt.ok()) return Refusal::semantic(prompt.status().message());
  out = tokenizer.encode(*prompt);
  if (begun) {
    const Result<std::string> text = text::message_text(*begun);
    if (!text.ok()) {
      return Refusal::semantic(
          text.status().in("messages[" + std::to_string(messages.size()) + "]").message());
    }
    const std::vector<wire::TokenId> tokens = tokenizer.encode(*text);
    // A beginning of sequence belongs to the beginning alone.
    const bool begins = !tokens.empty() && tokens.front() == tokenizer.bos_id();
    out.insert(out.end(), tokens.begin() + (begins ? 1 : 0), tokens.end());
  }
  return std::nullopt;
}

}  // namespace fathom::api
