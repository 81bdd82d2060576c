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

// The beginning of the answer, and what it does with thoughts.
std::optional<Refusal> append_begun(const text::Tokenizer& tokenizer,
                                    const Json& message,
                                    std::size_t index,
                                    EncodedChat& out) {
  const Result<std::string> text = text::message_text(message);
  if (!text.ok()) {
    return Refusal::semantic(text.status().in("messages[" + std::to_string(index) + "]").message());
  }
  const std::vector<wire::TokenId> tokens = tokenizer.encode(*text);
  // A beginning of sequence belongs to the beginning alone.
  const bool begins = !tokens.empty() && tokens.front() == tokenizer.bos_id();
  out.tokens.insert(out.tokens.end(), tokens.begin() + (begins ? 1 : 0), tokens.end());
  const std::size_t opened = text->rfind(kThink);
  const std::size_t closed = text->rfind(kEndThink);
  if (opened == std::string::npos && closed == std::string::npos) return std::nullopt;
  out.thoughts_closed =
      closed != std::string::npos && (opened == std::string::npos || closed > opened);
  out.in_thoughts = !out.thoughts_closed;
  return std::nullopt;
}

}  // namespace

std::optional<Refusal> encode_chat(const text::Tokenizer& tokenizer,
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
  text::ChatEncodingOptions options;
  options.thinking = request.thinking;
  options.tools = request.tools.empty() ? nullptr : &request.tools;
  const Result<std::string> prompt = text::encode_chat(messages, options);
  if (!prompt.ok()) return Refusal::semantic(prompt.status().message());
  out.tokens = tokenizer.encode(*prompt);
  out.in_thoughts = request.thinking;
  if (!begun) return std::nullopt;
  return append_begun(tokenizer, *begun, messages.size(), out);
}

}  // namespace fathom::api
