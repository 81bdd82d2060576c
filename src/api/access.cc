#include "api/access.h"

#include <algorithm>
#include <array>

#include "api/refusal.h"

namespace fathom::api {

namespace {

// Beginnings of paths, as SGLang has them.
constexpr auto kOpenPaths = std::to_array<std::string_view>({"/health", "/metrics", "/ready"});

// What changes the server for everybody, or stops work of others.
constexpr auto kManagementPaths = std::to_array<std::string_view>({
    "/abort_request",
    "/close_session",
    "/configure_logging",
    "/continue_generation",
    "/dump_expert_distribution_record",
    "/flush_cache",
    "/freeze_gc",
    "/load_lora_adapter",
    "/open_session",
    "/pause_generation",
    "/pd_role_switch",
    "/release_memory_occupation",
    "/resume_memory_occupation",
    "/set_internal_state",
    "/set_trace_level",
    "/slow_down",
    "/start_expert_distribution_record",
    "/start_profile",
    "/stop_expert_distribution_record",
    "/stop_profile",
    "/unload_lora_adapter",
    "/update_weight_version",
});
// The same, with something behind it.
constexpr auto kManagementPrefixes =
    std::to_array<std::string_view>({"/hicache/storage-backend", "/update_weights_from_"});

template <typename Beginnings>
bool begins_with_one(std::string_view path, const Beginnings& beginnings) {
  return std::ranges::any_of(
      beginnings, [path](std::string_view beginning) { return path.starts_with(beginning); });
}

// Looks at every byte whatever comes, so that the time does not tell how many are right.
bool same_key(std::string_view given, std::string_view key) {
  unsigned difference = given.size() == key.size() ? 0U : 1U;
  for (std::size_t i = 0; i < given.size(); ++i) {
    const auto wanted = static_cast<unsigned char>(key[i % key.size()]);
    difference |= static_cast<unsigned char>(given[i]) ^ static_cast<unsigned>(wanted);
  }
  return difference == 0;
}

// Requires that `key` is not empty.
bool carries(const http::Request& request, std::string_view key) {
  constexpr std::string_view kScheme = "Bearer ";
  if (const std::string* const header = request.headers.find("Authorization")) {
    const std::string_view text = *header;
    if (http::same_word(text.substr(0, kScheme.size()), kScheme) &&
        same_key(text.substr(kScheme.size()), key)) {
      return true;
    }
  }
  const std::string* const header = request.headers.find("x-api-key");
  return header != nullptr && same_key(*header, key);
}

http::Response refusal(int status, ErrorForm form) {
  const char* const message = status == 401 ? "Unauthorized" : "Forbidden";
  // SGLang's are as short as Ollama's.
  if (form == ErrorForm::kOpenAi) form = ErrorForm::kOllama;
  http::Response response = error_response(Refusal::of(status, message), form);
  if (status == 401) response.headers.add("WWW-Authenticate", "Bearer");
  return response;
}

}  // namespace

AccessLevel access_level(std::string_view path) {
  if (begins_with_one(path, kOpenPaths)) return AccessLevel::kOpen;
  const bool management = std::ranges::find(kManagementPaths, path) != kManagementPaths.end() ||
                          begins_with_one(path, kManagementPrefixes);
  return management ? AccessLevel::kManagement : AccessLevel::kNormal;
}

std::optional<http::Response> refuse_access(const AccessKeys& keys, const http::Request& request) {
  if (request.method == "OPTIONS") return std::nullopt;
  const AccessLevel level = access_level(request.path);
  if (level == AccessLevel::kOpen) return std::nullopt;
  const bool managed = level == AccessLevel::kManagement && !keys.admin_api_key.empty();
  const std::string& wanted = managed ? keys.admin_api_key : keys.api_key;
  if (wanted.empty() || carries(request, wanted)) return std::nullopt;
  const bool known = managed && !keys.api_key.empty() && carries(request, keys.api_key);
  return refusal(known ? 403 : 401, error_form(request.path));
}

}  // namespace fathom::api
