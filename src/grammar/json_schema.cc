#include "grammar/json_schema.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "grammar/schema_formats.h"
#include "grammar/schema_numbers.h"
#include "grammar/schema_shape.h"

namespace fathom::grammar {

namespace {

using std::string_view_literals::operator""sv;

constexpr std::array kNotEnforced{"not"sv,
                                  "if"sv,
                                  "then"sv,
                                  "else"sv,
                                  "dependentRequired"sv,
                                  "dependencies"sv,
                                  "dependentSchemas"sv,
                                  "contains"sv,
                                  "minContains"sv,
                                  "maxContains"sv,
                                  "$dynamicRef"sv,
                                  "$recursiveRef"sv,
                                  "additionalItems"sv};
constexpr std::array kCombiners{"$ref"sv, "const"sv, "enum"sv, "anyOf"sv, "oneOf"sv, "allOf"sv};
constexpr std::array kOfStrings{"minLength"sv, "maxLength"sv, "pattern"sv, "format"sv};
constexpr std::array kOfArrays{"items"sv,    "prefixItems"sv, "minItems"sv,
                               "maxItems"sv, "uniqueItems"sv, "unevaluatedItems"sv};
constexpr std::array kOfObjects{
    "properties"sv,    "required"sv,      "additionalProperties"sv, "patternProperties"sv,
    "propertyNames"sv, "minProperties"sv, "maxProperties"sv,        "unevaluatedProperties"sv};
constexpr std::array kTypes{"null"sv,   "boolean"sv, "integer"sv, "number"sv,
                            "string"sv, "array"sv,   "object"sv};

template <class Keys>
const std::string* first_of(const Json& schema, const Keys& keys) {
  for (const JsonMember& member : *schema.as_object()) {
    if (std::find(keys.begin(), keys.end(), member.key) != keys.end()) return &member.key;
  }
  return nullptr;
}

constexpr std::int64_t kUnrolled = 128;       // counts that the library writes out as states
constexpr std::int64_t kCostOfLongest = 300;  // beyond it a length costs no more

class Normalizer {
 public:
  Normalizer(const Json& root, std::vector<SchemaPattern>& patterns)
      : root_(root), patterns_(patterns) {}

  Result<Json> run() {
    Result<Json> out = node(root_, "");
    if (!out.ok()) return out;
    Json definitions = Json::object();
    // Definitions may name further ones.
    for (std::size_t i = 0; i < definitions_.size(); ++i) {
      const auto [target, place] = definitions_[i];
      Result<Json> definition = node(*target, place);
      if (!definition.ok()) return definition;
      definitions.set(definition_name(i), std::move(*definition));
    }
    if (!definitions_.empty()) out->set("$defs", std::move(definitions));
    return out;
  }

 private:
  static std::string definition_name(std::size_t index) { return "d" + std::to_string(index); }

  // What `schema` becomes, at this place of the source.
  Result<Json> node(const Json& schema, const std::string& place) {
    if (++nodes_ > kMaxSchemaNodes) {
      return schema_refused(place, "the schema has more than " + std::to_string(kMaxSchemaNodes) +
                                       " parts, type unions written out");
    }
    if (const std::optional<bool> all = schema.as_bool()) {
      if (*all) return Json::object();
      return schema_refused(place, "false allows no value");
    }
    if (!schema.is_object()) return schema_refused(place, wrong_json_kind("an object", schema));
    if (const std::string* key = first_of(schema, kNotEnforced)) {
      return schema_refused(pointer_to(place, *key), "not supported");
    }
    if (!place.empty() && schema.find("$id") != nullptr) {
      return schema_refused(pointer_to(place, "$id"), "supported at the root alone");
    }
    if (first_of(schema, kCombiners) != nullptr) return combination(schema, place);
    return by_type(schema, place);
  }

  // A node with $ref, const, enum, anyOf, oneOf or allOf. Nothing else can be enforced beside one
  // of them, but for the type of constants.
  Result<Json> combination(const Json& schema, const std::string& place) {
    const std::string key = *first_of(schema, kCombiners);
    for (const JsonMember& member : *schema.as_object()) {
      if (member.key == key) continue;
      const bool constants = key == "const" || key == "enum";
      if (constants && member.key == "type") continue;
      if (is_assertion(member.key)) {
        return schema_refused(pointer_to(place, member.key),
                              "not supported beside \"" + key + "\"");
      }
    }
    const Json& value = *schema.find(key);
    const std::string at = pointer_to(place, key);
    if (key == "$ref") return reference(value, at);
    if (key == "const") return constants(schema, {value}, place, at);
    if (!value.is_array() || value.as_array()->empty()) {
      return schema_refused(at, "expected an array that is not empty");
    }
    const Json::Array& elements = *value.as_array();
    if (key == "enum") return constants(schema, elements, place, at);
    if (key == "allOf") {
      if (elements.size() != 1) return schema_refused(at, "supported with one element only");
      return node(elements[0], pointer_to(at, "0"));
    }
    if (key == "oneOf") FATHOM_RETURN_IF_ERROR(check_exclusive(elements, at));
    Json::Array branches;
    for (std::size_t i = 0; i < elements.size(); ++i) {
      Result<Json> branch = node(elements[i], pointer_to(at, std::to_string(i)));
      if (!branch.ok()) return branch;
      branches.push_back(std::move(*branch));
    }
    Json out = Json::object();
    out.set("anyOf", Json::array(std::move(branches)));
    return out;
  }

  static bool is_assertion(const std::string& key) {
    const auto in = [&](const auto& keys) {
      return std::find(keys.begin(), keys.end(), key) != keys.end();
    };
    return key == "type" || in(kCombiners) || in(kOfStrings) || in(kOfNumbers) || in(kOfArrays) ||
           in(kOfObjects);
  }

  Status check_exclusive(const Json::Array& branches, const std::string& at) const {
    constexpr std::size_t kMaxBranches = 100;
    if (branches.size() > kMaxBranches) return schema_refused(at, "more than 100 branches");
    for (std::size_t i = 0; i < branches.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        if (exclude_each_other(root_, branches[j], branches[i])) continue;
        return schema_refused(
            at, "branches " + std::to_string(j) + " and " + std::to_string(i) +
                    " may both hold: give them different types, or a required property "
                    "with different constants, or use anyOf");
      }
    }
    return {};
  }

  Result<Json> reference(const Json& value, const std::string& at) {
    const std::string* uri = value.as_string();
    if (uri == nullptr) return schema_refused(at, wrong_json_kind("a string", value));
    const Json* target = resolve_reference(root_, *uri);
    if (target == nullptr) {
      return schema_refused(at, "\"" + *uri + "\" names no part of this schema (expected \"#/…\")");
    }
    // A chain of references that returns to itself allows nothing.
    const Json* next = target;
    for (int steps = 0; next != nullptr && next->is_object(); ++steps) {
      const Json* further = next->find("$ref");
      if (further == nullptr || further->as_string() == nullptr) break;
      if (steps == 64)
        return schema_refused(at, "\"" + *uri + "\" leads through more than 64 references");
      next = resolve_reference(root_, *further->as_string());
    }
    Json out = Json::object();
    if (target == &root_) {
      out.set("$ref", Json::string("#"));
      return out;
    }
    const auto [known, fresh] = definition_of_.emplace(target, definitions_.size());
    if (fresh) definitions_.emplace_back(target, uri->substr(1));
    out.set("$ref", Json::string("#/$defs/" + definition_name(known->second)));
    return out;
  }

  Result<Json> constants(const Json& schema,
                         const Json::Array& values,
                         const std::string& place,
                         const std::string& at) {
    Result<std::vector<std::string>> types = types_of(schema, place);
    if (!types.ok()) return types.status();
    Json::Array kept;
    for (const Json& value : values) {
      const bool wanted =
          types->empty() || std::any_of(types->begin(), types->end(), [&](const std::string& type) {
            return has_type(value, type);
          });
      if (!wanted) continue;
      if (const std::string* number = value.as_number_text()) {
        if (number->find_first_of(".eE") == std::string::npos && !value.as_int64()) {
          return schema_refused(at, "integers of more than 64 bits are not supported");
        }
      }
      kept.push_back(value);
    }
    if (kept.empty()) return schema_refused(at, "no value is of the type asked for");
    Json out = Json::object();
    out.set("enum", Json::array(std::move(kept)));
    return out;
  }

  // The types that `type` names; none when there is no such member.
  static Result<std::vector<std::string>> types_of(const Json& schema, const std::string& place) {
    std::vector<std::string> types;
    const Json* type = schema.find("type");
    if (type == nullptr) return types;
    const std::string at = pointer_to(place, "type");
    Json::Array names;
    if (const Json::Array* several = type->as_array()) {
      names = *several;
    } else {
      names.push_back(*type);
    }
    for (const Json& name : names) {
      if (name.as_string() == nullptr) return schema_refused(at, wrong_json_kind("a string", name));
      if (std::find(kTypes.begin(), kTypes.end(), *name.as_string()) == kTypes.end()) {
        return schema_refused(at, "\"" + *name.as_string() + "\" is no type of JSON Schema");
      }
      if (std::find(types.begin(), types.end(), *name.as_string()) == types.end()) {
        types.push_back(*name.as_string());
      }
    }
    if (types.empty()) return schema_refused(at, "expected a type");
    return types;
  }

  // A node with keywords of types. Without `type` they stand for the type that they are about,
  // which is narrower than the Draft.
  Result<Json> by_type(const Json& schema, const std::string& place) {
    Result<std::vector<std::string>> types = types_of(schema, place);
    if (!types.ok()) return types.status();
    if (types->empty()) {
      if (first_of(schema, kOfStrings) != nullptr) types->emplace_back("string");
      if (first_of(schema, kOfNumbers) != nullptr) types->emplace_back("number");
      if (first_of(schema, kOfArrays) != nullptr) types->emplace_back("array");
      if (first_of(schema, kOfObjects) != nullptr) types->emplace_back("object");
      if (types->size() > 1) {
        return schema_refused(place, "has keywords of several types and no \"type\"");
      }
      if (types->empty()) return Json::object();
    }
    Json::Array branches;
    for (const std::string& type : *types) {
      Result<Json> branch = of_type(type, schema, place);
      if (!branch.ok()) return branch;
      branches.push_back(std::move(*branch));
    }
    if (branches.size() == 1) return std::move(branches[0]);
    nodes_ += branches.size();
    Json out = Json::object();
    out.set("anyOf", Json::array(std::move(branches)));
    return out;
  }

  Result<Json> of_type(const std::string& type, const Json& schema, const std::string& place) {
    Json out = Json::object();
    out.set("type", Json::string(type));
    Status status;
    if (type == "string") status = string(schema, place, out);
    if (type == "integer" || type == "number") status = normalize_number(type, schema, place, out);
    if (type == "array") status = array(schema, place, out);
    if (type == "object") status = object(schema, place, out);
    if (!status.ok()) return status;
    return out;
  }

  // The count that `key` holds; nothing when it is absent.
  static Result<std::optional<std::int64_t>> count(const Json& schema,
                                                   std::string_view key,
                                                   const std::string& place) {
    const Json* value = schema.find(key);
    if (value == nullptr) return std::optional<std::int64_t>();
    const std::string at = pointer_to(place, key);
    const std::optional<std::int64_t> number = value->as_int64();
    if (!number || *number < 0) return schema_refused(at, "expected an integer from 0 on");
    if (*number > kMaxCount) {
      return schema_refused(at, "is " + std::to_string(*number) + ", supported are at most " +
                                    std::to_string(kMaxCount));
    }
    return number;
  }

  struct Counts {
    std::int64_t min = 0;
    std::optional<std::int64_t> max;
    bool given = false;
  };
  static Result<Counts> counts(const Json& schema,
                               std::string_view min_key,
                               std::string_view max_key,
                               const std::string& place) {
    auto min = count(schema, min_key, place);
    if (!min.ok()) return min.status();
    auto max = count(schema, max_key, place);
    if (!max.ok()) return max.status();
    const Counts out{.min = min->value_or(0), .max = *max, .given = *min || *max};
    if (out.max && *out.max < out.min) {
      return schema_refused(pointer_to(place, min_key), "is above " + std::string(max_key));
    }
    return out;
  }

  Status string(const Json& schema, const std::string& place, Json& out) {
    Result<Counts> length = counts(schema, "minLength", "maxLength", place);
    if (!length.ok()) return length.status();
    const Json* pattern = schema.find("pattern");
    if (pattern != nullptr) {
      const std::string at = pointer_to(place, "pattern");
      if (pattern->as_string() == nullptr) {
        return schema_refused(at, wrong_json_kind("a string", *pattern));
      }
      if (length->given) return schema_refused(at, "not supported beside minLength or maxLength");
      patterns_.push_back({at, *pattern->as_string()});
      out.set("pattern", *pattern);
      return {};
    }
    if (length->given) {
      return string_of_length(*length, place, out);
    }
    const Json* format = schema.find("format");
    if (format == nullptr) return {};
    if (format->as_string() == nullptr) {
      return schema_refused(pointer_to(place, "format"), wrong_json_kind("a string", *format));
    }
    if (const auto known = format_pattern(*format->as_string())) {
      out.set("pattern", Json::string(std::string(*known)));
    }
    return {};
  }

  // Spelled as a pattern: the library's own form lets control characters through.
  Status string_of_length(const Counts& length, const std::string& place, Json& out) {
    const std::int64_t bound = length.max.value_or(length.min);
    if (lengths_.insert({length.min, length.max.value_or(-1)}).second) {
      length_cost_ += std::min(bound, kCostOfLongest);
    }
    if (length_cost_ > kMaxTotalLength) {
      return schema_refused(place, "the different lengths of strings come to more than " +
                                       std::to_string(kMaxTotalLength) + ", each counted up to " +
                                       std::to_string(kCostOfLongest));
    }
    // Above kUnrolled the library would count at run time, at tens of milliseconds a mask. A
    // character past ASCII makes it take the pattern apart into rules, which it unrolls in part.
    const std::string not_ascii = bound > kUnrolled ? "\x7f" : "";
    const std::string from = bound > kUnrolled ? "\\x00" : "\\x01";
    out.set("pattern", Json::string(R"(^[^"\\)" + from + R"(-\x1f)" + not_ascii + "]{" +
                                    std::to_string(length.min) + "," +
                                    (length.max ? std::to_string(*length.max) : "") + "}$"));
    return {};
  }

  // How many there are.
  Result<std::size_t> prefix_items(const Json& schema, const std::string& place, Json& out) {
    const Json* prefix = schema.find("prefixItems");
    if (prefix == nullptr) return std::size_t{0};
    const std::string at = pointer_to(place, "prefixItems");
    if (!prefix->is_array()) return schema_refused(at, wrong_json_kind("an array", *prefix));
    Json::Array kept;
    for (const Json& each : *prefix->as_array()) {
      Result<Json> item = node(each, pointer_to(at, std::to_string(kept.size())));
      if (!item.ok()) return item.status();
      kept.push_back(std::move(*item));
    }
    const std::size_t count = kept.size();
    if (count > 0) out.set("prefixItems", Json::array(std::move(kept)));
    return count;
  }

  Status array(const Json& schema, const std::string& place, Json& out) {
    if (const Json* unique = schema.find("uniqueItems"); unique && unique->as_bool() != false) {
      return schema_refused(pointer_to(place, "uniqueItems"), "not supported");
    }
    Result<Counts> length = counts(schema, "minItems", "maxItems", place);
    if (!length.ok()) return length.status();
    std::string_view key = "items";
    const Json* items = schema.find(key);
    if (items == nullptr) items = schema.find(key = "unevaluatedItems");
    const Result<std::size_t> told = prefix_items(schema, place, out);
    if (!told.ok()) return told.status();
    const std::size_t prefixed = *told;
    if (length->max && static_cast<std::size_t>(*length->max) < prefixed) {
      return schema_refused(pointer_to(place, "maxItems"), "is below the number of prefixItems");
    }
    if (items != nullptr && items->as_bool() == false) {
      if (static_cast<std::size_t>(length->min) > prefixed) {
        return schema_refused(pointer_to(place, "minItems"), "is above the number of prefixItems");
      }
      out.set("items", Json::boolean(false));
    } else if (items != nullptr) {
      Result<Json> item = node(*items, pointer_to(place, key));
      if (!item.ok()) return item.status();
      out.set("items", std::move(*item));
    } else if (prefixed == 0 || static_cast<std::size_t>(length->min) > prefixed) {
      out.set("items", Json::object());
    }
    if (length->min > 0) out.set("minItems", Json::integer(length->min));
    if (length->max) out.set("maxItems", Json::integer(*length->max));
    return {};
  }

  Status object(const Json& schema, const std::string& place, Json& out);
  Status other_properties(const Json& schema,
                          const std::string& place,
                          bool has_properties,
                          Json& out);
  Status required(const Json& schema, const std::string& place, std::int64_t max, Json& out);

  const Json& root_;
  std::vector<SchemaPattern>& patterns_;
  std::size_t nodes_ = 0;
  std::set<std::pair<std::int64_t, std::int64_t>> lengths_;  // the different ones
  std::int64_t length_cost_ = 0;
  std::vector<std::pair<const Json*, std::string>> definitions_;  // and where each stands
  std::map<const Json*, std::size_t> definition_of_;
};

Status Normalizer::object(const Json& schema, const std::string& place, Json& out) {
  Result<Counts> size = counts(schema, "minProperties", "maxProperties", place);
  if (!size.ok()) return size.status();
  std::size_t named = 0;
  if (const Json* properties = schema.find("properties")) {
    const std::string at = pointer_to(place, "properties");
    if (!properties->is_object())
      return schema_refused(at, wrong_json_kind("an object", *properties));
    Json kept = Json::object();
    for (const JsonMember& member : *properties->as_object()) {
      // The library builds grammar text from names, and its keys end at a null character.
      if (member.key.find('\0') != std::string::npos)
        return schema_refused(at, "a name holds U+0000");
      Result<Json> property = node(member.value, pointer_to(at, member.key));
      if (!property.ok()) return property.status();
      kept.set(member.key, std::move(*property));
      ++named;
    }
    if (named > 0) out.set("properties", std::move(kept));
  }
  FATHOM_RETURN_IF_ERROR(other_properties(schema, place, named > 0, out));
  FATHOM_RETURN_IF_ERROR(required(schema, place, size->max.value_or(kMaxCount), out));
  // A key written twice counts once for a reader and twice here.
  const Json* additional = out.find("additionalProperties");
  const bool open = additional == nullptr || additional->as_bool() != false;
  if (size->min > 1 && open) {
    return schema_refused(pointer_to(place, "minProperties"),
                          "above 1 it is supported with additionalProperties false alone");
  }
  if (!open && static_cast<std::size_t>(size->min) > named) {
    return schema_refused(pointer_to(place, "minProperties"), "is above the number of properties");
  }
  if (size->min > 0) out.set("minProperties", Json::integer(size->min));
  if (size->max) out.set("maxProperties", Json::integer(*size->max));
  return {};
}

// Which of these rules go together.
Status check_property_rules(const Json& schema,
                            const Json* additional,
                            bool has_properties,
                            const std::string& at) {
  const bool by_pattern = schema.find("patternProperties") != nullptr;
  const bool by_name = schema.find("propertyNames") != nullptr;
  if (!by_pattern && !by_name) return {};
  if (has_properties || (by_pattern && by_name)) {
    return schema_refused(at, "not supported beside properties or one another");
  }
  const bool closed = additional != nullptr && additional->as_bool() == false;
  if (by_pattern && additional != nullptr && !closed) {
    return schema_refused(at, "not supported beside additionalProperties");
  }
  if (by_name && closed)
    return schema_refused(at, "not supported beside additionalProperties false");
  return {};
}

// additionalProperties, patternProperties and propertyNames.
Status Normalizer::other_properties(const Json& schema,
                                    const std::string& place,
                                    bool has_properties,
                                    Json& out) {
  std::string_view key = "additionalProperties";
  const Json* additional = schema.find(key);
  if (additional == nullptr) additional = schema.find(key = "unevaluatedProperties");
  const Json* by_pattern = schema.find("patternProperties");
  const Json* names = schema.find("propertyNames");
  const std::string_view special = by_pattern != nullptr ? "patternProperties" : "propertyNames";
  const std::string at = pointer_to(place, special);
  FATHOM_RETURN_IF_ERROR(check_property_rules(schema, additional, has_properties, at));
  if (by_pattern != nullptr) {
    if (!by_pattern->is_object() || by_pattern->as_object()->size() != 1) {
      return schema_refused(at, "expected an object with one pattern");
    }
    const JsonMember& only = by_pattern->as_object()->front();
    Result<Json> value = node(only.value, pointer_to(at, only.key));
    if (!value.ok()) return value.status();
    patterns_.push_back({pointer_to(at, only.key), only.key});
    Json kept = Json::object();
    kept.set(only.key, std::move(*value));
    out.set("patternProperties", std::move(kept));
    out.set("additionalProperties", Json::boolean(false));
    return {};
  }
  if (names != nullptr) {
    if (!names->is_object() || first_of(*names, kCombiners) != nullptr) {
      return schema_refused(at, "expected an object with keywords of strings");
    }
    Json name = Json::object();
    name.set("type", Json::string("string"));
    FATHOM_RETURN_IF_ERROR(string(*names, at, name));
    out.set("propertyNames", std::move(name));
  }
  if (additional != nullptr && additional->as_bool() == false) {
    out.set("additionalProperties", Json::boolean(false));
  } else if (additional != nullptr) {
    Result<Json> value = node(*additional, pointer_to(place, key));
    if (!value.ok()) return value.status();
    out.set("additionalProperties", std::move(*value));
  } else {
    out.set("additionalProperties", has_properties ? Json::boolean(false) : Json::object());
  }
  return {};
}

Status Normalizer::required(const Json& schema,
                            const std::string& place,
                            std::int64_t max,
                            Json& out) {
  const Json* required = schema.find("required");
  if (required == nullptr) return {};
  const std::string at = pointer_to(place, "required");
  if (!required->is_array()) return schema_refused(at, wrong_json_kind("an array", *required));
  Json::Array kept;
  const Json* properties = out.find("properties");
  for (std::size_t i = 0; i < required->as_array()->size(); ++i) {
    const Json& name = (*required->as_array())[i];
    const std::string here = pointer_to(at, std::to_string(i));
    if (name.as_string() == nullptr) return schema_refused(here, wrong_json_kind("a string", name));
    if (properties == nullptr || properties->find(*name.as_string()) == nullptr) {
      return schema_refused(here, "\"" + *name.as_string() + "\" is not among the properties");
    }
    if (std::find(kept.begin(), kept.end(), name) == kept.end()) kept.push_back(name);
  }
  if (static_cast<std::int64_t>(kept.size()) > max) {
    return schema_refused(at, "names more than maxProperties");
  }
  if (!kept.empty()) out.set("required", Json::array(std::move(kept)));
  return {};
}

}  // namespace

Result<Json> normalize_schema(const Json& schema, std::vector<SchemaPattern>& patterns) {
  return Normalizer(schema, patterns).run();
}

}  // namespace fathom::grammar
