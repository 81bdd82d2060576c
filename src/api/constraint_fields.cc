#include "api/constraint_fields.h"

#include <array>
#include <string>
#include <string_view>
#include <utility>

namespace fathom::api {

namespace {

using wire::Constraint;
using wire::ConstraintKind;

constexpr std::string_view kAnyJson = "$$ANY$$";

void set(FieldReader& fields,
         std::string_view name,
         ConstraintKind kind,
         std::string text,
         Constraint& out) {
  if (text.size() > kMaxConstraintBytes) {
    fields.refuse(Refusal::semantic(fields.path(name) + ": has " + std::to_string(text.size()) +
                                    " bytes, expected at most " +
                                    std::to_string(kMaxConstraintBytes)));
    return;
  }
  out.kind = kind;
  out.text = std::move(text);
}

void read_text(FieldReader& fields, std::string_view name, ConstraintKind kind, Constraint& out) {
  const std::string text = fields.text(name, "");
  if (text.empty()) {
    if (fields.ok()) fields.refuse_value(name, *fields.find(name), "a text that is not empty");
    return;
  }
  set(fields, name, kind, text, out);
}

// The member itself or, where it is a text, the JSON in it.
std::optional<Json> json_of(FieldReader& fields, std::string_view name) {
  const Json& value = *fields.find(name);
  const std::string* text = value.as_string();
  if (text == nullptr) return value;
  Result<Json> parsed = parse_json(*text);
  if (parsed.ok()) return std::move(*parsed);
  fields.refuse(Refusal::semantic(fields.path(name) + ": " + parsed.status().message()));
  return std::nullopt;
}

void read_json_schema(FieldReader& fields, std::string_view name, Constraint& out) {
  const std::string* text = fields.find(name)->as_string();
  if (text != nullptr && *text == kAnyJson) {
    set(fields, name, ConstraintKind::kJsonSchema, "{}", out);
    return;
  }
  const std::optional<Json> schema = json_of(fields, name);
  if (!schema) return;
  if (!schema->is_object() && !schema->is_bool()) {
    fields.refuse_kind(name, *schema, "a JSON schema or its text");
    return;
  }
  set(fields, name, ConstraintKind::kJsonSchema, to_json(*schema), out);
}

// {"begin","schema","end"} as a tag of the newer form.
std::optional<Json> tag_of(FieldReader& fields, const Json& structure, std::size_t index) {
  const std::string where = "structures[" + std::to_string(index) + "]";
  const Json* begin = structure.find("begin");
  const Json* end = structure.find("end");
  const Json* schema = structure.find_set("schema");
  if (begin == nullptr || !begin->is_string() || end == nullptr || !end->is_string()) {
    fields.refuse(Refusal::shape(where + ": expected an object with begin, schema and end"));
    return std::nullopt;
  }
  Json content = Json::object();
  content.set("type", Json::string("json_schema"));
  content.set("json_schema", schema == nullptr ? Json::object() : *schema);
  Json tag = Json::object();
  tag.set("type", Json::string("tag"));
  tag.set("begin", *begin);
  tag.set("content", std::move(content));
  tag.set("end", *end);
  return tag;
}

std::optional<Json> newer_form(FieldReader& fields, const Json& older) {
  const Json* structures = older.find("structures");
  const Json* triggers = older.find("triggers");
  if (structures == nullptr || !structures->is_array() || triggers == nullptr ||
      !triggers->is_array()) {
    fields.refuse(Refusal::shape("structural_tag: expected format, or structures with triggers"));
    return std::nullopt;
  }
  Json::Array tags;
  for (std::size_t i = 0; i < structures->as_array()->size(); ++i) {
    std::optional<Json> tag = tag_of(fields, (*structures->as_array())[i], i);
    if (!tag) return std::nullopt;
    tags.push_back(std::move(*tag));
  }
  Json format = Json::object();
  format.set("type", Json::string("triggered_tags"));
  format.set("triggers", *triggers);
  format.set("tags", Json::array(std::move(tags)));
  return format;
}

void set_structural_tag(FieldReader& fields,
                        std::string_view name,
                        const Json& given,
                        Constraint& out) {
  if (!given.is_object()) {
    fields.refuse_kind(name, given, "an object or its text");
    return;
  }
  const Json* format = given.find_set("format");
  if (format != nullptr && !format->is_object()) {
    fields.refuse(
        Refusal::shape(fields.path(name) + ".format: " + wrong_json_kind("an object", *format)));
    return;
  }
  std::optional<Json> content = format != nullptr ? *format : newer_form(fields, given);
  if (!content) return;
  Json tag = Json::object();
  tag.set("type", Json::string("structural_tag"));
  tag.set("format", std::move(*content));
  set(fields, name, ConstraintKind::kStructuralTag, to_json(tag), out);
}

void read_structural_tag(FieldReader& fields, std::string_view name, Constraint& out) {
  if (const std::optional<Json> given = json_of(fields, name)) {
    set_structural_tag(fields, name, *given, out);
  }
}

void read_format_schema(FieldReader& fields, const Json& format, Constraint& out) {
  constexpr std::string_view kName = "response_format.json_schema";
  const Json* holder = format.find_set("json_schema");
  if (holder != nullptr && !holder->is_object()) {
    fields.refuse(
        Refusal::shape(std::string(kName) + ": " + wrong_json_kind("an object", *holder)));
    return;
  }
  // Some clients put it beside the type.
  const Json* schema = holder != nullptr ? holder->find_set("schema") : format.find_set("schema");
  if (schema == nullptr) {
    fields.refuse(Refusal::semantic(std::string(kName) + ".schema: is missing"));
    return;
  }
  if (!schema->is_object() && !schema->is_bool()) {
    fields.refuse(Refusal::shape(std::string(kName) +
                                 ".schema: " + wrong_json_kind("a JSON schema", *schema)));
    return;
  }
  set(fields, kName, ConstraintKind::kJsonSchema, to_json(*schema), out);
}

void read_response_format(FieldReader& fields, std::string_view name, Constraint& out) {
  const Json* format = fields.object(name);
  if (format == nullptr) return;
  const Json* type = format->find("type");
  if (type == nullptr || !type->is_string()) {
    fields.refuse(Refusal::shape("response_format.type: is missing, expected a string"));
    return;
  }
  const std::string& kind = *type->as_string();
  if (kind == "text") return;
  if (kind == "json_object") {
    set(fields, name, ConstraintKind::kJsonSchema, R"({"type":"object"})", out);
  } else if (kind == "json_schema") {
    read_format_schema(fields, *format, out);
  } else if (kind == "structural_tag") {
    set_structural_tag(fields, name, *format, out);
  } else {
    fields.refuse(Refusal::semantic("response_format.type: was " + brief(*type) +
                                    ", expected text, json_object, json_schema or "
                                    "structural_tag"));
  }
}

void read_member(FieldReader& fields, std::string_view name, Constraint& out) {
  if (name == "regex") return read_text(fields, name, ConstraintKind::kRegex, out);
  if (name == "ebnf") return read_text(fields, name, ConstraintKind::kEbnf, out);
  if (name == "json_schema") return read_json_schema(fields, name, out);
  if (name == "structural_tag") return read_structural_tag(fields, name, out);
  return read_response_format(fields, name, out);
}

}  // namespace

Constraint read_constraint(FieldReader& fields) {
  constexpr std::array<std::string_view, 5> kNames{"regex", "ebnf", "json_schema", "structural_tag",
                                                   "response_format"};
  Constraint out;
  std::string_view first;
  for (const std::string_view name : kNames) {
    if (fields.find(name) == nullptr) continue;
    Constraint read;
    read_member(fields, name, read);
    if (read.kind == ConstraintKind::kNone) continue;
    if (out.kind != ConstraintKind::kNone) {
      fields.refuse(Refusal::semantic(fields.path(first) + " and " + fields.path(name) +
                                      " both constrain the answer: give one"));
    }
    out = std::move(read);
    first = name;
  }
  return out;
}

}  // namespace fathom::api
