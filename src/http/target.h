#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace fathom::http {

// What a request asks for, in its parts.
struct Target {
  std::string path;   // percent-decoded; "*" for OPTIONS of the whole server
  std::string query;  // as sent, without the '?'
};

// Understands "/path?query", "http://host/path?query" and "*". kInvalidArgument for anything else,
// for escapes that are none ("%4", "%zz") and for an encoded NUL.
Result<Target> parse_target(std::string_view text);

// "%41" → "A"; '+' stays. Nothing on a bad escape or an encoded NUL, in kInvalidArgument.
Result<std::string> percent_decode(std::string_view text);

// The value of the first member `name` of a query "a=1&b=x%20y", decoded ('+' is a blank); nothing
// when there is none or its escapes are wrong. Names are compared as they were sent.
std::optional<std::string> query_value(std::string_view query, std::string_view name);

}  // namespace fathom::http
