#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "http/url.h"

namespace fathom::app {

struct ChatMessage {
  std::string role;  // "user", "assistant"
  std::string content;
};

// How a chat asks its server.
struct ChatSettings {
  std::string model;
  std::string system;            // empty: no system message
  std::optional<bool> thinking;  // unset: as the server likes
  std::int64_t max_tokens = 0;   // 0: as the server likes
  Json fields = Json::object();  // further members of the request
};

// The body for /v1/chat/completions: a stream with usage.
std::string chat_request_body(const ChatSettings& settings,
                              const std::vector<ChatMessage>& history);

// "NAME=VALUE" → fields; the value is JSON, or else a string; an empty one removes the field.
// kInvalidArgument for other forms and for names that the chat itself fills.
Status set_chat_field(ChatSettings& settings, std::string_view text);

// The base of an OpenAI endpoint: "host:port", with or without "http://" or "https://" before and
// "/v1" behind it.
Result<http::Url> parse_chat_url(std::string_view text);

}  // namespace fathom::app
