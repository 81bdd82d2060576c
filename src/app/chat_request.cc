#include "app/chat_request.h"

#include <algorithm>
#include <array>
#include <utility>

namespace fathom::app {

namespace {

Json message(std::string_view role, std::string_view content) {
  Json made = Json::object();
  made.set("role", Json::string(std::string(role)));
  made.set("content", Json::string(std::string(content)));
  return made;
}

}  // namespace

std::string chat_request_body(const ChatSettings& settings,
                              const std::vector<ChatMessage>& history) {
  Json::Array messages;
  if (!settings.system.empty()) messages.push_back(message("system", settings.system));
  for (const ChatMessage& each : history) messages.push_back(message(each.role, each.content));
  Json usage = Json::object();
  usage.set("include_usage", Json::boolean(true));

  Json body = settings.fields;
  body.set("model", Json::string(settings.model));
  body.set("messages", Json::array(std::move(messages)));
  body.set("stream", Json::boolean(true));
  body.set("stream_options", std::move(usage));
  if (settings.max_tokens > 0) body.set("max_tokens", Json::integer(settings.max_tokens));
  if (settings.thinking.has_value()) {
    const Json* const given = settings.fields.find("chat_template_kwargs");
    Json template_values = given != nullptr && given->is_object() ? *given : Json::object();
    template_values.set("thinking", Json::boolean(*settings.thinking));
    body.set("chat_template_kwargs", std::move(template_values));
  }
  return to_json(body);
}

Status set_chat_field(ChatSettings& settings, std::string_view text) {
  constexpr std::array<std::string_view, 4> kOurs = {"model", "messages", "stream",
                                                     "stream_options"};
  const std::size_t equals = text.find('=');
  const std::string_view name = text.substr(0, equals);
  if (name.empty() || equals == std::string_view::npos) {
    return invalid_argument("'" + std::string(text) +
                            "' sets nothing; expected NAME=VALUE, such as temperature=0.7");
  }
  if (std::ranges::find(kOurs, name) != kOurs.end()) {
    return invalid_argument("'" + std::string(name) + "' is filled by the chat itself");
  }
  const std::string_view value = text.substr(equals + 1);
  Json fields = Json::object();
  for (const JsonMember& member : *settings.fields.as_object()) {
    if (member.key != name || !value.empty()) fields.set(member.key, member.value);
  }
  if (!value.empty()) {
    Result<Json> parsed = parse_json(value);
    fields.set(name, parsed.ok() ? std::move(*parsed) : Json::string(std::string(value)));
  }
  settings.fields = std::move(fields);
  return {};
}

Result<http::Url> parse_chat_url(std::string_view text) {
  std::string full(text);
  if (full.find("://") == std::string::npos) full.insert(0, "http://");
  Result<http::Url> url = http::parse_url(full);
  FATHOM_RETURN_IF_ERROR(url.status());
  while (url->path.ends_with('/')) url->path.pop_back();
  if (url->path.ends_with("/v1")) url->path.resize(url->path.size() - 3);
  return url;
}

}  // namespace fathom::app
