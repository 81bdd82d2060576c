#include <simdjson.h>

#include "base/json.h"

namespace fathom {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

bool must_escape(char c) { return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\'; }

void append_escape(std::string& out, char c) {
  constexpr std::string_view kNamed = "\"\\\b\f\n\r\t";
  constexpr std::string_view kNames = "\"\\bfnrt";
  constexpr std::string_view kHex = "0123456789abcdef";
  out += '\\';
  if (const std::size_t named = kNamed.find(c); named != std::string_view::npos) {
    out += kNames[named];
    return;
  }
  const auto byte = static_cast<unsigned char>(c);
  out += "u00";
  out += kHex[byte >> 4];
  out += kHex[byte & 15];
}

// Requires valid UTF-8, of which ASCII alone is ever escaped.
void append_escaped(std::string& out, std::string_view text) {
  std::size_t done = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (!must_escape(text[i])) continue;
    out.append(text, done, i - done);
    append_escape(out, text[i]);
    done = i + 1;
  }
  out.append(text, done);
}

// The bytes of the character that `text` starts with, 0 when it starts with none.
std::size_t character_size(std::string_view text) {
  for (std::size_t size = 1; size <= 4 && size <= text.size(); ++size) {
    if (simdjson::validate_utf8(text.data(), size)) return size;
  }
  return 0;
}

void append_array(std::string& out, const Json::Array& elements) {
  out += '[';
  bool first = true;
  for (const Json& element : elements) {
    if (!first) out += ',';
    first = false;
    append_json(out, element);
  }
  out += ']';
}

void append_object(std::string& out, const Json::Object& members) {
  out += '{';
  bool first = true;
  for (const JsonMember& member : members) {
    if (!first) out += ',';
    first = false;
    append_json_string(out, member.key);
    out += ':';
    append_json(out, member.value);
  }
  out += '}';
}

}  // namespace

std::string repaired_utf8(std::string_view text) {
  if (simdjson::validate_utf8(text.data(), text.size())) return std::string(text);
  std::string out;
  while (!text.empty()) {
    const std::size_t size = character_size(text);
    out += size == 0 ? kReplacement : text.substr(0, size);
    text.remove_prefix(size == 0 ? 1 : size);
  }
  return out;
}

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  if (simdjson::validate_utf8(text.data(), text.size())) {
    append_escaped(out, text);
  } else {
    append_escaped(out, repaired_utf8(text));
  }
  out += '"';
}

void append_json(std::string& out, const Json& value) {
  switch (value.kind()) {
    case Json::Kind::kNull:
      out += "null";
      return;
    case Json::Kind::kBool:
      out += *value.as_bool() ? "true" : "false";
      return;
    case Json::Kind::kNumber:
      out += *value.as_number_text();
      return;
    case Json::Kind::kString:
      append_json_string(out, *value.as_string());
      return;
    case Json::Kind::kArray:
      append_array(out, *value.as_array());
      return;
    case Json::Kind::kObject:
      append_object(out, *value.as_object());
      return;
  }
}

std::string to_json(const Json& value) {
  std::string out;
  append_json(out, value);
  return out;
}

}  // namespace fathom
