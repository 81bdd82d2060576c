#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace fathom::api {

// Appends JSON to a text, with commas where they belong. The caller closes what it opens.
//
// Threads: one at a time.
class JsonWriter {
 public:
  // Borrows `out`; what is there already is left alone.
  explicit JsonWriter(std::string& out) : out_(&out), start_(out.size()) {}

  JsonWriter& begin_object();
  JsonWriter& end_object();
  JsonWriter& begin_array();
  JsonWriter& end_array();
  // The key of the next value: one of ours, without characters to escape.
  JsonWriter& key(std::string_view name);
  // The same for any text.
  JsonWriter& text_key(std::string_view name);

  JsonWriter& string(std::string_view value);
  JsonWriter& integer(std::int64_t value);
  // The shortest text that reads back as `value`; null when it is not finite.
  JsonWriter& real(float value);
  JsonWriter& real(double value);
  JsonWriter& boolean(bool value);
  JsonWriter& null();
  // A value that is JSON already.
  JsonWriter& raw(std::string_view json);

  // A member in one call: its key, then the value.
  JsonWriter& begin_object(std::string_view name) { return key(name).begin_object(); }
  JsonWriter& begin_array(std::string_view name) { return key(name).begin_array(); }
  JsonWriter& string(std::string_view name, std::string_view value) {
    return key(name).string(value);
  }
  JsonWriter& integer(std::string_view name, std::int64_t value) {
    return key(name).integer(value);
  }
  JsonWriter& real(std::string_view name, double value) { return key(name).real(value); }
  JsonWriter& boolean(std::string_view name, bool value) { return key(name).boolean(value); }
  JsonWriter& null(std::string_view name) { return key(name).null(); }
  JsonWriter& raw(std::string_view name, std::string_view json) { return key(name).raw(json); }

 private:
  void separate();

  std::string* out_;
  std::size_t start_;
};

void append_integer(std::string& out, std::int64_t value);

}  // namespace fathom::api
