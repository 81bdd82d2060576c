#include <algorithm>
#include <array>
#include <map>
#include <string_view>
#include <utility>

#include "config/resolution.h"

// Keys, TLS, limits and the access log.
namespace fathom::config {
namespace {

Status parse_log_level(const FlagValues& flags, std::string_view flag, LogThreshold& level) {
  static const std::map<std::string, LogThreshold, std::less<>> levels = {
      {"debug", LogThreshold::kDebug},
      {"info", LogThreshold::kInfo},
      {"warning", LogThreshold::kWarning},
      {"error", LogThreshold::kError},
      {"critical", LogThreshold::kError}};
  std::string name = flags.text(flag);
  std::ranges::transform(name, name.begin(), [](unsigned char c) {
    return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  });
  const auto found = levels.find(name);
  if (found == levels.end()) {
    return invalid_argument(flags.shown(flag) +
                            ": expected debug, info, warning, error or critical");
  }
  level = found->second;
  return {};
}

// An empty key, of a variable that was not set, would leave the door open unnoticed.
Status take_key(const FlagValues& flags, std::string_view flag, std::string& key) {
  if (!flags.has(flag)) return {};
  key = flags.text(flag);
  const bool sendable = std::ranges::all_of(key, [](char c) { return c > ' ' && c < '\x7f'; });
  if (!key.empty() && sendable) return {};
  return invalid_argument(flags.shown(flag) +
                          ": expected printable ASCII without blanks, at least one character");
}

Status take_tls(const FlagValues& flags, HttpPlan& http) {
  http.certificate = flags.text("ssl_certfile");
  http.key = flags.text("ssl_keyfile");
  http.key_password = flags.text("ssl_keyfile_password");
  http.authorities = flags.text("ssl_ca_certs");
  http.refresh_tls = flags.is_on("enable_ssl_refresh");
  if (http.certificate.empty() != http.key.empty()) {
    const bool has_key = http.certificate.empty();
    return invalid_argument(flags.shown(has_key ? "ssl_keyfile" : "ssl_certfile") + " needs " +
                            (has_key ? "--ssl-certfile" : "--ssl-keyfile"));
  }
  if (!http.certificate.empty()) return {};
  for (const char* const flag : {"ssl_keyfile_password", "ssl_ca_certs", "enable_ssl_refresh"}) {
    if (flags.given(flag)) {
      return invalid_argument(flags.shown(flag) + " needs --ssl-certfile and --ssl-keyfile");
    }
  }
  return {};
}

Status take_moved_paths(const EnvironmentValues& environment, HttpPlan& http) {
  constexpr auto kPaths = std::to_array<std::pair<std::string_view, std::string_view>>(
      {{"SGLANG_OLLAMA_CHAT_ROUTE", "/api/chat"},
       {"SGLANG_OLLAMA_GENERATE_ROUTE", "/api/generate"},
       {"SGLANG_OLLAMA_TAGS_ROUTE", "/api/tags"},
       {"SGLANG_OLLAMA_SHOW_ROUTE", "/api/show"}});
  for (const auto& [name, from] : kPaths) {
    if (!environment.changed(name)) continue;
    const std::string to = environment.text(name);
    const bool plain = std::ranges::all_of(
        to, [](char c) { return c > ' ' && c < '\x7f' && c != '?' && c != '#' && c != '%'; });
    if (to.front() != '/' || !plain) {
      return invalid_argument(std::string(name) + ": was " + to +
                              ", expected a path that begins with / and needs no escapes");
    }
    for (const auto& [other, taken] : http.moved_paths) {
      if (taken != to) continue;
      std::string message(name);
      return invalid_argument(message.append(": ").append(to).append(" is where ").append(other) +
                              " is already");
    }
    http.moved_paths.emplace_back(from, to);
  }
  return {};
}

}  // namespace

Status plan_http(Resolution& r) {
  const FlagValues& flags = r.flags;
  HttpPlan& http = r.plan.http;
  FATHOM_RETURN_IF_ERROR(take_key(flags, "api_key", http.api_key));
  FATHOM_RETURN_IF_ERROR(take_key(flags, "admin_api_key", http.admin_api_key));
  if (http.api_key.empty() && !http.admin_api_key.empty()) {
    r.warn("--admin-api-key without --api-key: endpoints that generate ask for no key");
  }
  FATHOM_RETURN_IF_ERROR(take_tls(flags, http));
  FATHOM_RETURN_IF_ERROR(check_ranges(flags, {{"max_body_mib", 1, 1 << 20}}));
  FATHOM_RETURN_IF_ERROR(take_moved_paths(r.input.environment, http));
  http.max_body_bytes = flags.integer("max_body_mib") << 20;
  FATHOM_RETURN_IF_ERROR(parse_log_level(flags, "log_level", r.plan.log_level));
  LogThreshold access_level = r.plan.log_level;
  if (flags.has("log_level_http")) {
    FATHOM_RETURN_IF_ERROR(parse_log_level(flags, "log_level_http", access_level));
  }
  http.access_log = access_level == LogThreshold::kDebug || access_level == LogThreshold::kInfo;
  if (const Json::Array* prefixes = flags.get("uvicorn_access_log_exclude_prefixes").as_array()) {
    for (const Json& prefix : *prefixes) {
      if (const std::string* text = prefix.as_string()) http.access_log_leaves_out.push_back(*text);
    }
  }
  return {};
}

}  // namespace fathom::config
