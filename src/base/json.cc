#include "base/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <system_error>

namespace fathom {
namespace {

// Drops leading digits; false when there were none.
bool take_digits(std::string_view& text) {
  const std::size_t count = std::min(text.find_first_not_of("0123456789"), text.size());
  text.remove_prefix(count);
  return count > 0;
}

bool take(std::string_view& text, std::string_view any_of) {
  if (text.empty() || any_of.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

bool is_json_number(std::string_view text) {
  take(text, "-");
  if (!take(text, "0") && !take_digits(text)) return false;
  if (take(text, ".") && !take_digits(text)) return false;
  if (take(text, "eE")) {
    take(text, "+-");
    if (!take_digits(text)) return false;
  }
  return text.empty();
}

bool is_integer_text(std::string_view text) {
  return text.find_first_of(".eE") == std::string_view::npos;
}

// The value of a JSON number that from_chars() finds too large or too small for a double: the
// power of ten of its first digit that is not 0 tells which.
double beyond_double(std::string_view text) {
  const double sign = text.front() == '-' ? -1 : 1;
  const std::size_t mark = std::min(text.find_first_of("eE"), text.size());
  std::int64_t exponent = 0;
  if (mark < text.size()) {
    std::string_view digits = text.substr(mark + 1);
    const bool negative = digits.front() == '-';
    take(digits, "+-");
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), exponent);
    if (error != std::errc{}) exponent = std::numeric_limits<std::int32_t>::max();
    if (negative) exponent = -exponent;
  }
  const std::string_view mantissa = text.substr(0, mark);
  const std::size_t point = std::min(mantissa.find('.'), mantissa.size());
  const std::size_t first = mantissa.find_first_of("123456789");
  if (first == std::string_view::npos) return sign * 0.0;
  const auto place = static_cast<std::int64_t>(point) - static_cast<std::int64_t>(first);
  return place > -exponent ? sign * std::numeric_limits<double>::infinity() : sign * 0.0;
}

double double_of(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc::result_out_of_range ? beyond_double(text) : value;
}

}  // namespace

Json::Json(Value value) : value_(std::move(value)) {}

Json Json::boolean(bool value) { return Json(Value(std::in_place_type<bool>, value)); }

Json Json::integer(std::int64_t value) {
  return Json(Value(std::in_place_type<Number>, Number{std::to_string(value)}));
}

Json Json::number(double value) {
  if (!std::isfinite(value)) return {};
  char digits[32];
  const auto [end, error] = std::to_chars(digits, digits + sizeof(digits), value);
  FATHOM_CHECK(error == std::errc{});
  std::string text(digits, end);
  if (is_integer_text(text)) text += ".0";
  return Json(Value(std::in_place_type<Number>, Number{std::move(text)}));
}

std::optional<Json> Json::number_from_text(std::string_view text) {
  if (!is_json_number(text)) return std::nullopt;
  return Json(Value(std::in_place_type<Number>, Number{std::string(text)}));
}

Json Json::string(std::string value) {
  return Json(Value(std::in_place_type<std::string>, std::move(value)));
}

Json Json::array() { return array(Array()); }

Json Json::array(Array elements) {
  return Json(Value(std::in_place_type<Array>, std::move(elements)));
}

Json Json::object() { return object(Object()); }

Json Json::object(Object members) {
  return Json(Value(std::in_place_type<Object>, std::move(members)));
}

std::optional<bool> Json::as_bool() const {
  const bool* value = std::get_if<bool>(&value_);
  return value == nullptr ? std::nullopt : std::optional<bool>(*value);
}

std::optional<std::int64_t> Json::as_int64() const {
  const std::string* text = as_number_text();
  if (text == nullptr) return std::nullopt;
  if (is_integer_text(*text)) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
    return error == std::errc{} ? std::optional(value) : std::nullopt;
  }
  constexpr double kTwoTo63 = 9223372036854775808.0;
  const double value = double_of(*text);
  if (value != std::trunc(value) || value < -kTwoTo63 || value >= kTwoTo63) return std::nullopt;
  return static_cast<std::int64_t>(value);
}

std::optional<double> Json::as_double() const {
  const std::string* text = as_number_text();
  return text == nullptr ? std::nullopt : std::optional(double_of(*text));
}

const std::string* Json::as_number_text() const {
  const Number* number = std::get_if<Number>(&value_);
  return number == nullptr ? nullptr : &number->text;
}

const Json* Json::find(std::string_view key) const {
  const Object* members = as_object();
  if (members == nullptr) return nullptr;
  const auto found = std::find_if(members->begin(), members->end(),
                                  [key](const JsonMember& member) { return member.key == key; });
  return found == members->end() ? nullptr : &found->value;
}

const Json* Json::find_set(std::string_view key) const {
  const Json* found = find(key);
  return found == nullptr || found->is_null() ? nullptr : found;
}

Json& Json::set(std::string_view key, Json value) {
  Object* members = std::get_if<Object>(&value_);
  FATHOM_CHECK_MSG(members != nullptr, json_kind_name(kind()));
  for (JsonMember& member : *members) {
    if (member.key != key) continue;
    member.value = std::move(value);
    return member.value;
  }
  return members->emplace_back(JsonMember{std::string(key), std::move(value)}).value;
}

bool operator==(const Json& a, const Json& b) { return a.value_ == b.value_; }

std::string_view json_kind_name(Json::Kind kind) {
  switch (kind) {
    case Json::Kind::kNull:
      return "null";
    case Json::Kind::kBool:
      return "a boolean";
    case Json::Kind::kNumber:
      return "a number";
    case Json::Kind::kString:
      return "a string";
    case Json::Kind::kArray:
      return "an array";
    case Json::Kind::kObject:
      return "an object";
  }
  FATHOM_CHECK(false);
}

std::string wrong_json_kind(std::string_view wanted, const Json& value) {
  return "expected " + std::string(wanted) + ", was " + std::string(json_kind_name(value.kind()));
}

}  // namespace fathom
