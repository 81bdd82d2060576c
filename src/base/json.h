#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/status.h"

namespace fathom {

struct JsonMember;

// A JSON value that outlives the text it came from. Numbers keep their source text, so integers of
// any size keep all digits; objects keep the order of their members.
//
// Threads: an ordinary value. Copying and destroying recurse once per level of nesting.
class Json {
 public:
  enum class Kind : std::uint8_t { kNull, kBool, kNumber, kString, kArray, kObject };
  using Array = std::vector<Json>;
  // No two members share a key; set() and parse_json() see to it.
  using Object = std::vector<JsonMember>;

  Json() = default;  // null
  static Json boolean(bool value);
  static Json integer(std::int64_t value);
  // The shortest text that reads back as `value` and shows a double (1.0, 1e+16); null when `value`
  // is not finite.
  static Json number(double value);
  // A number spelled `text`; nothing when that is not how JSON spells numbers.
  static std::optional<Json> number_from_text(std::string_view text);
  // Strings made here may hold any bytes; those of parse_json() are valid UTF-8.
  static Json string(std::string value);
  static Json array();
  static Json array(Array elements);
  static Json object();
  // Requires that no two members share a key.
  static Json object(Object members);

  Kind kind() const { return static_cast<Kind>(value_.index()); }
  bool is_null() const { return kind() == Kind::kNull; }
  bool is_bool() const { return kind() == Kind::kBool; }
  bool is_number() const { return kind() == Kind::kNumber; }
  bool is_string() const { return kind() == Kind::kString; }
  bool is_array() const { return kind() == Kind::kArray; }
  bool is_object() const { return kind() == Kind::kObject; }

  // Each is empty (or a null pointer) when the value is of another kind. A pointer is good until
  // the value changes or goes.
  std::optional<bool> as_bool() const;
  // A number that is whole and fits, however it is written: 16, 16.0 and 1.6e1 are all 16.
  std::optional<std::int64_t> as_int64() const;
  // The nearest double; past the largest one an infinity, as in Python.
  std::optional<double> as_double() const;
  // As it was written: "1e5", "-0", "12345678901234567890".
  const std::string* as_number_text() const;
  const std::string* as_string() const { return std::get_if<std::string>(&value_); }
  const Array* as_array() const { return std::get_if<Array>(&value_); }
  Array* as_array() { return std::get_if<Array>(&value_); }
  const Object* as_object() const { return std::get_if<Object>(&value_); }

  // The member called `key`; null when there is none or this is no object. Looks at the members in
  // turn. find_set() also takes a member that is null for one that is missing.
  const Json* find(std::string_view key) const;
  const Json* find_set(std::string_view key) const;

  // Gives the member called `key` this value, in its place or as the last one. Requires
  // is_object().
  Json& set(std::string_view key, Json value);

  // Equal kinds and contents; numbers by their text, members in their order.
  friend bool operator==(const Json& a, const Json& b);

 private:
  struct Number {
    std::string text;
    bool operator==(const Number&) const = default;
  };
  using Value = std::variant<std::monostate, bool, Number, std::string, Array, Object>;

  explicit Json(Value value);

  Value value_;  // in the order of Kind
};

struct JsonMember {
  std::string key;
  Json value;
  bool operator==(const JsonMember&) const = default;
};

// What a text from outside may cost. A value takes about 40 bytes beside its text.
struct JsonLimits {
  std::size_t max_bytes = std::size_t{64} << 20;
  int max_depth = 128;  // nested arrays and objects
  std::size_t max_values = std::size_t{1} << 22;
  std::size_t max_number_bytes = 4096;
};

// `text` with one U+FFFD for each byte that belongs to no UTF-8 character.
std::string repaired_utf8(std::string_view text);

// The one JSON value in `text`, which must be strict JSON in UTF-8 with nothing but blanks around
// it. A key that occurs twice keeps its first place and its last value. kInvalidArgument says what
// is wrong and at which byte, when that is known: "not valid JSON at byte 17: …".
Result<Json> parse_json(std::string_view text, const JsonLimits& limits = {});

// Appends `text` as a JSON string, quotes included. Escapes only what must be; every byte that
// belongs to no UTF-8 character becomes one U+FFFD.
void append_json_string(std::string& out, std::string_view text);

// Appends `value` in the shortest layout; numbers as they were written.
void append_json(std::string& out, const Json& value);
std::string to_json(const Json& value);

// For messages: "null", "a boolean", "a number", "a string", "an array", "an object".
std::string_view json_kind_name(Json::Kind kind);

// "expected `wanted`, was a number": wrong_json_kind("a string", value).
std::string wrong_json_kind(std::string_view wanted, const Json& value);

}  // namespace fathom
