#include "api/json_writer.h"

#include <array>
#include <charconv>
#include <cmath>

#include "base/json.h"

namespace fathom::api {

namespace {

template <class Number>
void append_number(std::string& out, Number value) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  out.append(text.data(), end);
}

template <class Real>
void append_real(std::string& out, Real value) {
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  append_number(out, value);
}

}  // namespace

void append_integer(std::string& out, std::int64_t value) { append_number(out, value); }

void JsonWriter::separate() {
  if (out_->size() == start_) return;
  const char last = out_->back();
  if (last != '{' && last != '[' && last != ':') *out_ += ',';
}

JsonWriter& JsonWriter::begin_object() {
  separate();
  *out_ += '{';
  return *this;
}

JsonWriter& JsonWriter::end_object() {
  *out_ += '}';
  return *this;
}

JsonWriter& JsonWriter::begin_array() {
  separate();
  *out_ += '[';
  return *this;
}

JsonWriter& JsonWriter::end_array() {
  *out_ += ']';
  return *this;
}

JsonWriter& JsonWriter::key(std::string_view name) {
  separate();
  *out_ += '"';
  *out_ += name;
  *out_ += "\":";
  return *this;
}

JsonWriter& JsonWriter::text_key(std::string_view name) {
  string(name);
  *out_ += ':';
  return *this;
}

JsonWriter& JsonWriter::string(std::string_view value) {
  separate();
  append_json_string(*out_, value);
  return *this;
}

JsonWriter& JsonWriter::integer(std::int64_t value) {
  separate();
  append_integer(*out_, value);
  return *this;
}

JsonWriter& JsonWriter::real(float value) {
  separate();
  append_real(*out_, value);
  return *this;
}

JsonWriter& JsonWriter::real(double value) {
  separate();
  append_real(*out_, value);
  return *this;
}

JsonWriter& JsonWriter::boolean(bool value) { return raw(value ? "true" : "false"); }

JsonWriter& JsonWriter::null() { return raw("null"); }

JsonWriter& JsonWriter::raw(std::string_view json) {
  separate();
  *out_ += json;
  return *this;
}

}  // namespace fathom::api
