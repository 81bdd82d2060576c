#include "observe/python_text.h"

#include <array>
#include <utility>

namespace fathom::observe {

namespace {

constexpr std::string_view kHex = "0123456789abcdef";

bool inside_character(std::string_view text, std::size_t at) {
  return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80U;
}

// The first and the last half of `most` bytes, between characters. Requires a longer text.
std::pair<std::string_view, std::string_view> ends_of(std::string_view text, std::size_t most) {
  std::size_t head = most / 2;
  std::size_t tail = text.size() - most / 2;
  while (head > 0 && inside_character(text, head)) --head;
  while (tail < text.size() && inside_character(text, tail)) ++tail;
  return {text.substr(0, head), text.substr(tail)};
}

void append_text(std::string& out, std::string_view text) {
  const bool single = text.find('\'') != std::string_view::npos;
  const char quote = single && text.find('"') == std::string_view::npos ? '"' : '\'';
  out += quote;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == quote || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7F) {
      out += "\\x";
      out += kHex[byte >> 4U];
      out += kHex[byte & 15U];
    } else {
      out += c;
    }
  }
  out += quote;
}

void append_elements(std::string& out,
                     const Json::Array& elements,
                     std::size_t first,
                     std::size_t end,
                     std::size_t most) {
  out += '[';
  for (std::size_t i = first; i < end; ++i) {
    if (i > first) out += ", ";
    append_python(out, elements[i], most);
  }
  out += ']';
}

void append_list(std::string& out, const Json::Array& elements, std::size_t most) {
  if (most == 0 || elements.size() <= most) {
    append_elements(out, elements, 0, elements.size(), most);
    return;
  }
  append_elements(out, elements, 0, most / 2, most);
  out += " ... ";
  append_elements(out, elements, elements.size() - most / 2, elements.size(), most);
}

void append_object(std::string& out, const Json::Object& members, std::size_t most) {
  out += '{';
  bool first = true;
  for (const JsonMember& member : members) {
    if (!std::exchange(first, false)) out += ", ";
    append_text(out, member.key);
    out += ": ";
    append_python(out, member.value, most);
  }
  out += '}';
}

}  // namespace

// NOLINTNEXTLINE(misc-no-recursion): as deep as the value, which our own code nests thrice
void append_python(std::string& out, const Json& value, std::size_t most) {
  switch (value.kind()) {
    case Json::Kind::kNull:
      out += "None";
      return;
    case Json::Kind::kBool:
      out += *value.as_bool() ? "True" : "False";
      return;
    case Json::Kind::kNumber:
      out += *value.as_number_text();
      return;
    case Json::Kind::kString: {
      const std::string& text = *value.as_string();
      if (most == 0 || text.size() <= most) {
        append_text(out, text);
        return;
      }
      const auto [head, tail] = ends_of(text, most);
      append_text(out, head);
      out += " ... ";
      append_text(out, tail);
      return;
    }
    case Json::Kind::kArray:
      append_list(out, *value.as_array(), most);
      return;
    case Json::Kind::kObject:
      append_object(out, *value.as_object(), most);
      return;
  }
}

std::string python_call(std::string_view name, const Json& object, std::size_t most) {
  std::string out(name);
  out += '(';
  bool first = true;
  for (const JsonMember& member : *object.as_object()) {
    if (!std::exchange(first, false)) out += ", ";
    out += member.key;
    out += '=';
    append_python(out, member.value, most);
  }
  out += ')';
  return out;
}

// NOLINTNEXTLINE(misc-no-recursion): as deep as the value, which our own code nests thrice
Json shortened(const Json& value, std::size_t most) {
  if (most == 0) return value;
  if (const std::string* text = value.as_string()) {
    if (text->size() <= most) return value;
    const auto [head, tail] = ends_of(*text, most);
    return Json::string(std::string(head).append("...").append(tail));
  }
  if (const Json::Array* elements = value.as_array()) {
    Json::Array kept;
    const bool cut = elements->size() > most;
    for (std::size_t i = 0; i < elements->size(); ++i) {
      if (cut && i == most / 2) {
        kept.push_back(Json::string("..."));
        i = elements->size() - most / 2;
      }
      kept.push_back(shortened((*elements)[i], most));
    }
    return Json::array(std::move(kept));
  }
  if (const Json::Object* members = value.as_object()) {
    Json::Object kept;
    for (const JsonMember& member : *members) {
      kept.push_back({member.key, shortened(member.value, most)});
    }
    return Json::object(std::move(kept));
  }
  return value;
}

}  // namespace fathom::observe
