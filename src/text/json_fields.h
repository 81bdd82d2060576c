#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <simdjson.h>

#include "base/status.h"
#include "text/token_table.h"

// Reading the fields of an untrusted JSON file. `field` is the path of a value, for messages; every
// refusal is kInvalidArgument and names it, what was wanted and what was found.
namespace fathom::text::json {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;

// How deep Sequences of steps may be nested.
inline constexpr int kMaxNesting = 4;

// Untrusted text for a message: quoted, and cut when it is long.
std::string in_quotes(std::string_view text);
// "field[3]", "field.key".
std::string indexed(std::string_view field, std::size_t index);
std::string dotted(std::string_view field, std::string_view key);

// A member that is there and not null.
std::optional<element> member(const object& parent, std::string_view key);

Status wrong_kind(std::string_view field, std::string_view wanted, const element& value);
// `found` belongs to another family of tokenizers; `supported` is what may stand there.
Status unsupported(std::string_view field, std::string_view found, std::string_view supported);

Status read(const element& value, std::string_view field, object& out);
Status read(const element& value, std::string_view field, array& out);
Status read(const element& value, std::string_view field, std::string_view& out);
Status read(const element& value, std::string_view field, bool& out);
Status read_id(const element& value, std::string_view field, TokenId& out);

// Reads a member into `out`, which keeps its value when the member is missing or null.
template <class T>
Status read_optional(const object& parent, std::string_view field, std::string_view key, T& out) {
  const std::optional<element> value = member(parent, key);
  return value.has_value() ? read(*value, dotted(field, key), out) : Status();
}

template <class T>
Status read_required(const object& parent, std::string_view field, std::string_view key, T& out) {
  const std::optional<element> value = member(parent, key);
  if (!value.has_value()) return invalid_argument(dotted(field, key) + ": missing");
  return read(*value, dotted(field, key), out);
}

// Parses a whole file into `parser` and gives its top object, which lives as long as the parser.
Status parse_object(simdjson::dom::parser& parser, std::string_view json, object& out);

}  // namespace fathom::text::json
