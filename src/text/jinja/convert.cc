#include "text/jinja/convert.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <vector>

#include "text/jinja/strings.h"
#include "text/utf8.h"

// NOLINTBEGIN(misc-no-recursion): as deep as values nest
namespace fathom::text::jinja {

bool room(Budget& budget, const std::string& out, std::size_t more) {
  if (out.size() + more > budget.limits().max_output_bytes) {
    return budget.fail("a text gets longer than " +
                       std::to_string(budget.limits().max_output_bytes) + " bytes");
  }
  return budget.spend(1) && budget.take(more);
}

namespace {

void append_items(Budget& budget, std::string& out, const Sequence& sequence) {
  std::string_view between;
  for (const Value& item : sequence.items) {
    if (!room(budget, out, 2)) return;
    out += between;
    append_quoted(budget, out, item);
    between = ", ";
  }
}

void append_sequence(Budget& budget, std::string& out, const Value& value) {
  const Sequence& sequence = value.as_sequence();
  switch (sequence.kind) {
    case SequenceKind::kList:
      out += '[';
      append_items(budget, out, sequence);
      out += ']';
      return;
    case SequenceKind::kTuple:
      out += '(';
      append_items(budget, out, sequence);
      out += sequence.items.size() == 1 ? ",)" : ")";
      return;
    default:
      budget.fail("a " + std::string(type_name(value)) + " has no text; make it a list first");
  }
}

void append_dict(Budget& budget, std::string& out, const Dict& dict) {
  out += '{';
  std::string_view between;
  for (const auto& [key, value] : dict.items) {
    if (!room(budget, out, 4)) return;
    out += between;
    append_quoted(budget, out, key);
    out += ": ";
    append_quoted(budget, out, value);
    between = ", ";
  }
  out += '}';
}

}  // namespace

void append_text(Budget& budget, std::string& out, const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return;
    case Kind::kString:
      if (room(budget, out, value.as_string().size())) out += value.as_string();
      return;
    default:
      append_quoted(budget, out, value);
  }
}

void append_quoted(Budget& budget, std::string& out, const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      out += "Undefined";
      return;
    case Kind::kNone:
      out += "None";
      return;
    case Kind::kBool:
      out += value.as_bool() ? "True" : "False";
      return;
    case Kind::kInt:
      out += std::to_string(value.as_int());
      return;
    case Kind::kBigInt:
      if (room(budget, out, value.as_digits().size())) out += value.as_digits();
      return;
    case Kind::kFloat:
      append_float(out, value.as_float());
      return;
    case Kind::kString:
      if (room(budget, out, 2 * value.as_string().size())) append_quoted(out, value.as_string());
      return;
    case Kind::kSequence:
      append_sequence(budget, out, value);
      return;
    case Kind::kDict:
      append_dict(budget, out, value.as_dict());
      return;
    default:
      budget.fail("a " + std::string(type_name(value)) + " has no text");
  }
}

std::string to_text(Budget& budget, const Value& value) {
  std::string out;
  append_text(budget, out, value);
  return out;
}

namespace {

void append_unicode_escape(std::string& out, char32_t unit) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out += kDigits[(unit >> shift) & 0xF];
}

void append_json_string_text(Budget& budget,
                             std::string& out,
                             std::string_view text,
                             const JsonStyle& style) {
  if (!room(budget, out, text.size() + 2)) return;
  std::string quoted;
  append_json_string(quoted, text);
  if (!style.ascii) {
    if (room(budget, out, quoted.size())) out += quoted;
    return;
  }
  if (!room(budget, out, 3 * quoted.size())) return;
  for (std::size_t at = 0; at < quoted.size();) {
    const CodePoint point = decode_trusted(quoted.data() + at);
    at += point.size;
    if (point.value < 0x80) {
      out += static_cast<char>(point.value);
    } else if (point.value < 0x10000) {
      append_unicode_escape(out, point.value);
    } else {
      append_unicode_escape(out, 0xD800 + ((point.value - 0x10000) >> 10));
      append_unicode_escape(out, 0xDC00 + ((point.value - 0x10000) & 0x3FF));
    }
  }
}

// A line end and the indentation of `level`, where there is one.
void append_break(Budget& budget, std::string& out, const JsonStyle& style, int level) {
  if (!style.indent) return;
  if (!room(budget, out, 1 + style.indent->size() * static_cast<std::size_t>(level))) return;
  out += '\n';
  for (int i = 0; i < level; ++i) out += *style.indent;
}

void append_json_number(Budget& budget, std::string& out, const Value& value) {
  if (!value.is(Kind::kFloat)) {
    append_quoted(budget, out, value);
  } else if (std::isnan(value.as_float())) {
    out += "NaN";
  } else if (std::isinf(value.as_float())) {
    out += value.as_float() > 0 ? "Infinity" : "-Infinity";
  } else {
    append_float(out, value.as_float());
  }
}

void append_json_key(Budget& budget, std::string& out, const Value& key, const JsonStyle& style) {
  std::string text;
  switch (key.kind()) {
    case Kind::kString:
      append_json_string_text(budget, out, key.as_string(), style);
      return;
    case Kind::kNone:
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kBigInt:
    case Kind::kFloat:
      append_json_text(budget, text, key, style);
      append_json_string_text(budget, out, text, style);
      return;
    default:
      budget.fail("tojson: a " + std::string(type_name(key)) + " cannot be a key");
  }
}

void append_json_dict(Budget& budget,
                      std::string& out,
                      const Dict& dict,
                      const JsonStyle& style,
                      int level) {
  std::vector<const std::pair<Value, Value>*> items;
  items.reserve(dict.items.size());
  for (const auto& item : dict.items) items.push_back(&item);
  if (style.sort_keys) {
    std::stable_sort(items.begin(), items.end(), [&budget](const auto* a, const auto* b) {
      return budget.ok() && less(budget, a->first, b->first);
    });
  }
  out += '{';
  bool first = true;
  for (const auto* item : items) {
    if (!room(budget, out, style.item_separator.size() + style.key_separator.size())) return;
    if (!first) out += style.item_separator;
    first = false;
    append_break(budget, out, style, level + 1);
    append_json_key(budget, out, item->first, style);
    out += style.key_separator;
    append_json_text(budget, out, item->second, style, level + 1);
  }
  if (!first) append_break(budget, out, style, level);
  out += '}';
}

void append_json_list(Budget& budget,
                      std::string& out,
                      const Sequence& sequence,
                      const JsonStyle& style,
                      int level) {
  out += '[';
  bool first = true;
  for (const Value& item : sequence.items) {
    if (!room(budget, out, style.item_separator.size())) return;
    if (!first) out += style.item_separator;
    first = false;
    append_break(budget, out, style, level + 1);
    append_json_text(budget, out, item, style, level + 1);
  }
  if (!first) append_break(budget, out, style, level);
  out += ']';
}

}  // namespace

void append_json_text(Budget& budget,
                      std::string& out,
                      const Value& value,
                      const JsonStyle& style,
                      int level) {
  const bool list = value.is(Kind::kSequence) && (value.as_sequence().kind == SequenceKind::kList ||
                                                  value.as_sequence().kind == SequenceKind::kTuple);
  if (value.is_none()) {
    out += "null";
  } else if (value.is(Kind::kBool)) {
    out += value.as_bool() ? "true" : "false";
  } else if (value.is_numeric()) {
    append_json_number(budget, out, value);
  } else if (value.is(Kind::kString)) {
    append_json_string_text(budget, out, value.as_string(), style);
  } else if (list) {
    append_json_list(budget, out, value.as_sequence(), style, level);
  } else if (value.is(Kind::kDict)) {
    append_json_dict(budget, out, value.as_dict(), style, level);
  } else if (value.is_undefined()) {
    budget.fail("tojson: " + value.why_undefined());
  } else {
    budget.fail("tojson: a " + std::string(type_name(value)) + " is no JSON");
  }
}

}  // namespace fathom::text::jinja
// NOLINTEND(misc-no-recursion)
