#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace fathom::api {

// One part of a multipart/form-data body; the content lies in that body.
struct FormPart {
  std::string name;
  std::string filename;  // empty when the part has none
  std::string_view content;
};

// The parts of a body (RFC 7578), at most 64. `content_type` is the request's header.
// kInvalidArgument says what is wrong.
Result<std::vector<FormPart>> parse_form(std::string_view content_type, std::string_view body);

}  // namespace fathom::api
