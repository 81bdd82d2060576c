#include "text/python_json.h"

#include <charconv>
#include <cmath>
#include <string_view>
#include <system_error>

#include "base/check.h"

namespace fathom::text {

namespace {

// Python writes numbers with these decimal exponents without one.
constexpr int kLeastPlainExponent = -4;
constexpr int kMostPlainExponent = 15;

// repr(float(…)) of a finite number.
void append_float(std::string& out, double value) {
  char text[32];
  const auto [end, error] =
      std::to_chars(text, text + sizeof text, value, std::chars_format::scientific);
  FATHOM_CHECK(error == std::errc{});
  std::string_view shown(text, static_cast<std::size_t>(end - text));  // "-1.25e+02"
  if (shown.front() == '-') {
    out += '-';
    shown.remove_prefix(1);
  }
  const std::size_t mark = shown.find('e');
  const std::string_view exponent_text = shown.substr(mark + 1);
  int exponent = 0;
  const char* const first = exponent_text.data() + (exponent_text.front() == '+' ? 1 : 0);
  std::from_chars(first, exponent_text.data() + exponent_text.size(), exponent);
  if (exponent < kLeastPlainExponent || exponent > kMostPlainExponent) {
    out += shown;
    return;
  }
  std::string digits(1, shown.front());
  if (mark > 2) digits += shown.substr(2, mark - 2);  // behind the point
  if (exponent < 0) {
    out += "0.";
    out.append(static_cast<std::size_t>(-exponent - 1), '0');
    out += digits;
    return;
  }
  const auto whole = static_cast<std::size_t>(exponent) + 1;
  if (digits.size() < whole) digits.append(whole - digits.size(), '0');
  out += digits.substr(0, whole);
  out += '.';
  out += digits.size() == whole ? "0" : digits.substr(whole);
}

void append_number(std::string& out, const Json& value) {
  const std::string& text = *value.as_number_text();
  if (text.find_first_of(".eE") == std::string::npos) {
    out += text == "-0" ? "0" : text;
    return;
  }
  const double number = *value.as_double();
  if (std::isinf(number)) {
    out += number > 0 ? "Infinity" : "-Infinity";
  } else {
    append_float(out, number);
  }
}

}  // namespace

// As deep as the value, which a parser has bounded. NOLINTNEXTLINE(misc-no-recursion)
void append_python_json(std::string& out, const Json& value) {
  std::string_view between;
  if (const Json::Array* const array = value.as_array()) {
    out += '[';
    for (const Json& element : *array) {
      out += between;
      append_python_json(out, element);
      between = ", ";
    }
    out += ']';
  } else if (const Json::Object* const object = value.as_object()) {
    out += '{';
    for (const JsonMember& member : *object) {
      out += between;
      append_json_string(out, member.key);
      out += ": ";
      append_python_json(out, member.value);
      between = ", ";
    }
    out += '}';
  } else if (value.is_number()) {
    append_number(out, value);
  } else {
    append_json(out, value);
  }
}

}  // namespace fathom::text
