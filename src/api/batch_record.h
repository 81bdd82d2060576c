#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"

namespace fathom::api {

// What is known of a batch, as clients are told and as a record of the store keeps it.
struct BatchRecord {
  std::string id;
  std::string endpoint;
  std::string input_file;
  std::string output_file;  // empty until the input file has been checked …
  std::string error_file;   // … likewise
  std::string completion_window = "24h";
  std::string status = "validating";
  std::map<std::string, std::int64_t, std::less<>> times;  // unix seconds; "created_at" always
  std::int64_t total = 0;                                  // lines
  std::int64_t completed = 0;
  std::int64_t failed = 0;
  Json metadata;
  Json errors;  // null, or a list (batch_errors)

  std::int64_t expires_at() const;
  bool is_over() const;  // nothing becomes of it any more

  // As OpenAI has it.
  Json to_json() const;
  // Nothing when that is no such object.
  static std::optional<BatchRecord> from_json(const std::string& id, const Json& json);
};

// {"code","message","line","param":null}; `line` 0: about none.
Json batch_error(std::string_view code, const std::string& message, std::int64_t line);
// {"object":"list","data":[…]}
Json batch_errors(Json::Array errors);

// The text of a member; empty when there is none.
std::string member_text(const Json& json, std::string_view name);

}  // namespace fathom::api
