#include "text/json_fields.h"

#include <cstddef>
#include <cstdint>

#include "text/utf8.h"

namespace fathom::text::json {
namespace {

using simdjson::dom::element_type;

constexpr std::size_t kMaxJsonBytes = 128 << 20;
constexpr std::size_t kShownBytes = 60;  // of untrusted text in a message

std::string_view kind_of(const element& value) {
  switch (value.type()) {
    case element_type::ARRAY:
      return "an array";
    case element_type::OBJECT:
      return "an object";
    case element_type::STRING:
      return "a string";
    case element_type::BOOL:
      return "a boolean";
    case element_type::NULL_VALUE:
      return "null";
    case element_type::INT64:
    case element_type::UINT64:
    case element_type::DOUBLE:
      break;
  }
  return "a number";
}

}  // namespace

std::string in_quotes(std::string_view text) {
  if (text.size() <= kShownBytes) return '"' + std::string(text) + '"';
  text = text.substr(0, valid_utf8_prefix(text.substr(0, kShownBytes)));
  return '"' + std::string(text) + "\" …";
}

std::string indexed(std::string_view field, std::size_t index) {
  return std::string(field) + "[" + std::to_string(index) + "]";
}

std::string dotted(std::string_view field, std::string_view key) {
  return std::string(field) + "." + std::string(key);
}

std::optional<element> member(const object& parent, std::string_view key) {
  element value;
  if (parent.at_key(key).get(value) != simdjson::SUCCESS || value.is_null()) return std::nullopt;
  return value;
}

Status wrong_kind(std::string_view field, std::string_view wanted, const element& value) {
  return invalid_argument(std::string(field) + ": wanted " + std::string(wanted) + ", found " +
                          std::string(kind_of(value)));
}

Status read(const element& value, std::string_view field, object& out) {
  return value.get(out) == simdjson::SUCCESS ? Status() : wrong_kind(field, "an object", value);
}
Status read(const element& value, std::string_view field, array& out) {
  return value.get(out) == simdjson::SUCCESS ? Status() : wrong_kind(field, "an array", value);
}
Status read(const element& value, std::string_view field, std::string_view& out) {
  return value.get(out) == simdjson::SUCCESS ? Status() : wrong_kind(field, "a string", value);
}
Status read(const element& value, std::string_view field, bool& out) {
  return value.get(out) == simdjson::SUCCESS ? Status() : wrong_kind(field, "a boolean", value);
}
Status read_id(const element& value, std::string_view field, TokenId& out) {
  std::int64_t number = 0;
  if (value.get(number) != simdjson::SUCCESS) return wrong_kind(field, "a token id", value);
  if (number < 0 || number >= kMaxTokens) {
    return invalid_argument(std::string(field) + ": wanted an id in [0, " +
                            std::to_string(kMaxTokens) + "), found " + std::to_string(number));
  }
  out = static_cast<TokenId>(number);
  return {};
}

Status unsupported(std::string_view field, std::string_view found, std::string_view supported) {
  return invalid_argument(std::string(field) + ": " + in_quotes(found) +
                          " is not supported, only byte-level BPE is (" + std::string(supported) +
                          ")");
}

Status parse_object(simdjson::dom::parser& parser, std::string_view json, object& out) {
  if (json.size() > kMaxJsonBytes) {
    return invalid_argument("the file has " + std::to_string(json.size()) + " bytes, at most " +
                            std::to_string(kMaxJsonBytes) + " are read");
  }
  element root;
  const simdjson::error_code error = parser.parse(json.data(), json.size()).get(root);
  if (error != simdjson::SUCCESS) {
    return invalid_argument(std::string("not valid JSON: ") + simdjson::error_message(error));
  }
  return read(root, "the file", out);
}

}  // namespace fathom::text::json
