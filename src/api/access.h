#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "http/message.h"

namespace fathom::api {

// What requests must carry, as "Authorization: Bearer KEY" or "x-api-key: KEY". Empty: no such key.
struct AccessKeys {
  std::string api_key;
  std::string admin_api_key;
};

// Who may use a path.
enum class AccessLevel : unsigned char {
  kOpen,        // anybody: probes and metrics
  kNormal,      // whoever has the API key, if there is one
  kManagement,  // whoever has the admin key; if there is none, as kNormal
};
AccessLevel access_level(std::string_view path);

// The answer to a request that lacks the right key: 401 {"error":"Unauthorized"}, or 403
// {"error":"Forbidden"} where the API key is right and the admin key is wanted; of Anthropic's
// paths in Anthropic's form. Nothing for a
// request that may go on: OPTIONS always may, and the admin key opens management alone.
// How long it takes tells nothing of a key but its length.
std::optional<http::Response> refuse_access(const AccessKeys& keys, const http::Request& request);

}  // namespace fathom::api
