#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "text/jinja/value.h"

namespace fathom::text::jinja {

// Whether `out` may grow by so many bytes, which it takes from the budget; fails when not.
bool room(Budget& budget, const std::string& out, std::size_t more);

// Each appends to `out`, or fails. What has no text of its own in Python but an address (functions,
// generators) is refused.
void append_text(Budget& budget, std::string& out, const Value& value);    // str()
void append_quoted(Budget& budget, std::string& out, const Value& value);  // repr()

std::string to_text(Budget& budget, const Value& value);

// What json.dumps() takes.
struct JsonStyle {
  bool ascii = false;
  std::optional<std::string> indent = std::nullopt;  // of one level; none: all in one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};

// json.dumps(value).
void append_json_text(Budget& budget,
                      std::string& out,
                      const Value& value,
                      const JsonStyle& style,
                      int level = 0);

}  // namespace fathom::text::jinja
