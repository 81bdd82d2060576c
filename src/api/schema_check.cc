#include "api/schema_check.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string>
#include <string_view>
#include <utility>

#include "api/request_fields.h"

namespace fathom::api {

namespace {

// What the meta-schema wants of a keyword's value.
enum class Wants : std::uint8_t {
  kAnything,
  kSchema,
  kSchemaList,  // not empty
  kSchemaMap,
  kTypes,
  kText,
  kBoolean,
  kNumber,
  kPositive,
  kCount,
  kList,
  kTexts,    // without repetition
  kTextMap,  // of lists of texts
};

struct Keyword {
  std::string_view name;
  Wants wants;
};

constexpr auto kKeywords = std::to_array<Keyword>({
    {"$anchor", Wants::kText},
    {"$comment", Wants::kText},
    {"$defs", Wants::kSchemaMap},
    {"$dynamicAnchor", Wants::kText},
    {"$dynamicRef", Wants::kText},
    {"$id", Wants::kText},
    {"$ref", Wants::kText},
    {"$schema", Wants::kText},
    {"additionalProperties", Wants::kSchema},
    {"allOf", Wants::kSchemaList},
    {"anyOf", Wants::kSchemaList},
    {"contains", Wants::kSchema},
    {"contentEncoding", Wants::kText},
    {"contentMediaType", Wants::kText},
    {"contentSchema", Wants::kSchema},
    {"definitions", Wants::kSchemaMap},
    {"dependentRequired", Wants::kTextMap},
    {"dependentSchemas", Wants::kSchemaMap},
    {"deprecated", Wants::kBoolean},
    {"description", Wants::kText},
    {"else", Wants::kSchema},
    {"enum", Wants::kList},
    {"examples", Wants::kList},
    {"exclusiveMaximum", Wants::kNumber},
    {"exclusiveMinimum", Wants::kNumber},
    {"format", Wants::kText},
    {"if", Wants::kSchema},
    {"items", Wants::kSchema},
    {"maxContains", Wants::kCount},
    {"maxItems", Wants::kCount},
    {"maxLength", Wants::kCount},
    {"maxProperties", Wants::kCount},
    {"maximum", Wants::kNumber},
    {"minContains", Wants::kCount},
    {"minItems", Wants::kCount},
    {"minLength", Wants::kCount},
    {"minProperties", Wants::kCount},
    {"minimum", Wants::kNumber},
    {"multipleOf", Wants::kPositive},
    {"not", Wants::kSchema},
    {"oneOf", Wants::kSchemaList},
    {"pattern", Wants::kText},
    {"patternProperties", Wants::kSchemaMap},
    {"prefixItems", Wants::kSchemaList},
    {"properties", Wants::kSchemaMap},
    {"propertyNames", Wants::kSchema},
    {"readOnly", Wants::kBoolean},
    {"required", Wants::kTexts},
    {"then", Wants::kSchema},
    {"title", Wants::kText},
    {"type", Wants::kTypes},
    {"unevaluatedItems", Wants::kSchema},
    {"unevaluatedProperties", Wants::kSchema},
    {"uniqueItems", Wants::kBoolean},
    {"writeOnly", Wants::kBoolean},
});

constexpr std::array<std::string_view, 7> kTypeNames{"array",  "boolean", "integer", "null",
                                                     "number", "object",  "string"};

// Names of databases and programming languages.
constexpr auto kOtherTypeNames = std::to_array<std::pair<std::string_view, std::string_view>>({
    {"arr", "array"},      {"bigint", "integer"},  {"bool", "boolean"},   {"char", "string"},
    {"date", "string"},    {"datetime", "string"}, {"decimal", "number"}, {"dict", "object"},
    {"double", "number"},  {"enum", "string"},     {"float", "number"},   {"float32", "number"},
    {"float64", "number"}, {"int", "integer"},     {"int32", "integer"},  {"int64", "integer"},
    {"list", "array"},     {"long", "integer"},    {"map", "object"},     {"none", "null"},
    {"real", "number"},    {"set", "array"},       {"short", "integer"},  {"smallint", "integer"},
    {"str", "string"},     {"text", "string"},     {"tuple", "array"},    {"uint", "integer"},
    {"uuid", "string"},    {"varchar", "string"},
});

Wants wants_of(std::string_view name) {
  const auto* found = std::find_if(kKeywords.begin(), kKeywords.end(),
                                   [name](const Keyword& keyword) { return keyword.name == name; });
  return found == kKeywords.end() ? Wants::kAnything : found->wants;
}

Status wrong(const Json& value, std::string_view expected) {
  return invalid_argument("was " + brief(value) + ", expected " + std::string(expected));
}

Status wrong_kind(const Json& value, std::string_view wanted) {
  return invalid_argument(wrong_json_kind(wanted, value));
}

Result<Json> checked_type(const Json& value) {
  constexpr std::string_view kExpected =
      "array, boolean, integer, null, number, object or string, or an array of these";
  const std::string* given = value.as_string();
  if (given == nullptr) return wrong(value, kExpected);
  std::string name = *given;
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (std::find(kTypeNames.begin(), kTypeNames.end(), name) != kTypeNames.end()) {
    return Json::string(std::move(name));
  }
  const auto* other = std::find_if(kOtherTypeNames.begin(), kOtherTypeNames.end(),
                                   [&name](const auto& pair) { return pair.first == name; });
  if (other == kOtherTypeNames.end()) return wrong(value, kExpected);
  return Json::string(std::string(other->second));
}

Result<Json> checked_types(const Json& value) {
  const Json::Array* elements = value.as_array();
  if (elements == nullptr) return checked_type(value);
  Json::Array types;
  for (const Json& element : *elements) {
    Result<Json> type = checked_type(element);
    FATHOM_RETURN_IF_ERROR(type.status());
    if (std::find(types.begin(), types.end(), *type) == types.end()) {
      types.push_back(std::move(*type));
    }
  }
  if (types.empty()) return wrong_kind(value, "at least one type");
  return Json::array(std::move(types));
}

Result<Json> checked_schemas(const Json& value) {
  const Json::Array* elements = value.as_array();
  if (elements == nullptr) return wrong_kind(value, "an array of schemas");
  if (elements->empty()) return invalid_argument("is empty, expected at least one schema");
  Json::Array schemas;
  for (std::size_t i = 0; i < elements->size(); ++i) {
    Result<Json> schema = checked_schema((*elements)[i]);
    if (!schema.ok()) return schema.status().in(std::to_string(i));
    schemas.push_back(std::move(*schema));
  }
  return Json::array(std::move(schemas));
}

Result<Json> checked_schema_map(const Json& value) {
  const Json::Object* members = value.as_object();
  if (members == nullptr) return wrong_kind(value, "an object of schemas");
  Json::Object schemas;
  for (const JsonMember& member : *members) {
    Result<Json> schema = checked_schema(member.value);
    if (!schema.ok()) return schema.status().in(brief(Json::string(member.key)));
    schemas.push_back({member.key, std::move(*schema)});
  }
  return Json::object(std::move(schemas));
}

Status check_texts(const Json& value) {
  const Json::Array* elements = value.as_array();
  if (elements == nullptr) return wrong_kind(value, "an array of strings");
  std::vector<std::string_view> texts;
  for (const Json& element : *elements) {
    if (!element.is_string()) return wrong_kind(element, "an array of strings");
    texts.push_back(*element.as_string());
  }
  std::sort(texts.begin(), texts.end());
  const auto twice = std::adjacent_find(texts.begin(), texts.end());
  if (twice == texts.end()) return {};
  return invalid_argument("has " + brief(Json::string(std::string(*twice))) + " twice");
}

Status check_text_map(const Json& value) {
  const Json::Object* members = value.as_object();
  if (members == nullptr) return wrong_kind(value, "an object of arrays of strings");
  for (const JsonMember& member : *members) FATHOM_RETURN_IF_ERROR(check_texts(member.value));
  return {};
}

// Keywords whose values hold no schema.
Status check_plain(const Json& value, Wants wants) {
  switch (wants) {
    case Wants::kText:
      return value.is_string() ? Status() : wrong_kind(value, "a string");
    case Wants::kBoolean:
      return value.is_bool() ? Status() : wrong_kind(value, "true or false");
    case Wants::kNumber:
      return value.is_number() ? Status() : wrong_kind(value, "a number");
    case Wants::kPositive:
      return value.as_double().value_or(0) > 0 ? Status() : wrong(value, "a number above 0");
    case Wants::kCount:
      return value.as_int64().value_or(-1) >= 0 ? Status()
                                                : wrong(value, "a whole number of at least 0");
    case Wants::kList:
      return value.is_array() ? Status() : wrong_kind(value, "an array");
    case Wants::kTexts:
      return check_texts(value);
    case Wants::kTextMap:
      return check_text_map(value);
    default:
      return {};
  }
}

Result<Json> checked_value(const Json& value, Wants wants) {
  if (wants == Wants::kSchema) return checked_schema(value);
  if (wants == Wants::kSchemaList) return checked_schemas(value);
  if (wants == Wants::kSchemaMap) return checked_schema_map(value);
  if (wants == Wants::kTypes) return checked_types(value);
  FATHOM_RETURN_IF_ERROR(check_plain(value, wants));
  return value;
}

}  // namespace

// The depth of what parse_json() made bounds the recursion.
Result<Json> checked_schema(const Json& schema) {  // NOLINT(misc-no-recursion)
  if (schema.is_bool()) return schema;
  const Json::Object* members = schema.as_object();
  if (members == nullptr) return wrong_kind(schema, "a schema: an object or a boolean");
  Json::Object out;
  for (const JsonMember& member : *members) {
    Result<Json> value = checked_value(member.value, wants_of(member.key));
    if (!value.ok()) return value.status().in(member.key);
    out.push_back({member.key, std::move(*value)});
  }
  return Json::object(std::move(out));
}

}  // namespace fathom::api
