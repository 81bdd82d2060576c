#pragma once

#include <optional>
#include <string_view>

namespace fathom::grammar {

// A regular expression whose every match is a string of the JSON Schema format; nothing for formats
// that are not enforced. Each is narrower than its RFC, so that every reader takes what it lets
// through: four-digit years and days up to 28, plain mail addresses, IPv6 in full or with one "::".
std::optional<std::string_view> format_pattern(std::string_view format);

}  // namespace fathom::grammar
