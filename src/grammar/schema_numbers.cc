#include "grammar/schema_numbers.h"

#include <cmath>
#include <cstdint>
#include <optional>

#include "grammar/json_schema.h"
#include "grammar/schema_shape.h"

namespace fathom::grammar {

namespace {

Status multiple_of(const std::string& type, const Json& value, const std::string& at, Json& out) {
  const std::optional<std::int64_t> step = value.as_int64();
  if (type != "integer" || !step || *step < 1 || *step > kMaxMultipleOf) {
    return schema_refused(
        at, "supported for the type integer, from 1 to " + std::to_string(kMaxMultipleOf));
  }
  out.set("multipleOf", Json::integer(*step));
  return {};
}

// The library leaves multipleOf out where the range is open to one side, or wide.
Status check_multiples(const Json& schema, const std::string& place) {
  const auto bound = [&](std::string_view one, std::string_view other) {
    return schema.find(one) != nullptr ? schema.find(one) : schema.find(other);
  };
  const Json* const most = bound("maximum", "exclusiveMaximum");
  const Json* const least = bound("minimum", "exclusiveMinimum");
  if (most == nullptr && least == nullptr) return {};
  const std::string at = pointer_to(place, "multipleOf");
  if (most == nullptr || least == nullptr) return schema_refused(at, "needs both bounds, or none");
  if (most->as_int64().value_or(0) - least->as_int64().value_or(0) > 9000) {
    return schema_refused(at, "supported for ranges up to 9000 wide");
  }
  return {};
}

}  // namespace

Status normalize_number(const std::string& type,
                        const Json& schema,
                        const std::string& place,
                        Json& out) {
  for (const std::string_view key : kOfNumbers) {
    const Json* value = schema.find(key);
    if (value == nullptr) continue;
    const std::string at = pointer_to(place, key);
    if (!value->is_number()) return schema_refused(at, wrong_json_kind("a number", *value));
    // Beyond this the library's range of decimals is not exact.
    const double size = std::abs(value->as_double().value_or(0));
    if (size > 1e15 || (size != 0 && size < 1e-6)) {
      return schema_refused(at, "supported are 0 and sizes from 1e-6 to 1e15");
    }
    if (key == "multipleOf") {
      FATHOM_RETURN_IF_ERROR(multiple_of(type, *value, at, out));
    } else if (const auto whole = value->as_int64()) {
      out.set(key, Json::integer(*whole));
    } else if (type == "integer") {
      return schema_refused(at, "expected an integer, as the type is");
    } else {
      out.set(key, *value);
    }
  }
  return out.find("multipleOf") == nullptr ? Status() : check_multiples(schema, place);
}

}  // namespace fathom::grammar
