#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"

// What of JSON Schema (Draft 2020-12) the compiler of grammars enforces exactly.
namespace fathom::grammar {

// Rewrites `schema` into one in which every keyword left is enforced, and which allows nothing that
// `schema` forbids. What cannot be enforced is refused (kInvalidArgument) with the JSON Pointer of
// the place: "schema at /properties/a/not: not supported".
//
// Enforced: type, enum, const, properties (in the order written), required, additionalProperties,
// minProperties/maxProperties of closed objects, patternProperties or propertyNames alone, items,
// prefixItems, minItems, maxItems, minLength, maxLength, pattern (the whole string matches it),
// minimum, maximum, exclusive…, multipleOf of integers up to 1024, anyOf, oneOf of branches that
// exclude each other, allOf of one, local $ref with $defs, and format (date-time, date, time,
// duration, email, hostname, ipv4, ipv6, uuid) where nothing else constrains the string; other
// formats and unknown keywords are annotations. Objects without additionalProperties are closed
// when they have properties, and arrays when they have prefixItems: narrower than the Draft.
//
// Strings with a length or a pattern hold no escape sequences. `patterns` receives each regular
// expression that was kept and where it stood, for the caller to check.
struct SchemaPattern {
  std::string place;  // a JSON Pointer
  std::string text;
};
Result<Json> normalize_schema(const Json& schema, std::vector<SchemaPattern>& patterns);

// Bounds of one schema.
constexpr std::size_t kMaxSchemaNodes = 20000;  // after type unions are written out
constexpr std::int64_t kMaxCount = 100000;      // of minItems, maxLength and the like
// Of different string lengths, each up to 300: 14 ms of compilation a character with 129,280
// tokens.
constexpr std::int64_t kMaxTotalLength = 1500;
constexpr std::int64_t kMaxMultipleOf = 1024;

}  // namespace fathom::grammar
