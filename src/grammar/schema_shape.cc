#include "grammar/schema_shape.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fathom::grammar {

namespace {

constexpr int kMaxSteps = 16;  // of references followed

std::optional<int> hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

// A part of a pointer as it stands in a URI fragment.
std::string decode_part(std::string_view part) {
  std::string plain;
  for (std::size_t i = 0; i < part.size(); ++i) {
    if (part[i] == '%' && i + 2 < part.size()) {
      const auto high = hex_digit(part[i + 1]);
      const auto low = hex_digit(part[i + 2]);
      if (high && low) {
        plain += static_cast<char>(*high * 16 + *low);
        i += 2;
        continue;
      }
    }
    plain += part[i];
  }
  std::string out;
  for (std::size_t i = 0; i < plain.size(); ++i) {
    if (plain[i] == '~' && i + 1 < plain.size() && (plain[i + 1] == '0' || plain[i + 1] == '1')) {
      out += plain[++i] == '0' ? '~' : '/';
    } else {
      out += plain[i];
    }
  }
  return out;
}

const Json* child(const Json& value, const std::string& part) {
  if (value.is_object()) return value.find(part);
  const Json::Array* elements = value.as_array();
  if (elements == nullptr || part.empty() || part.size() > 6) return nullptr;
  std::size_t index = 0;
  for (const char c : part) {
    if (c < '0' || c > '9') return nullptr;
    index = index * 10 + static_cast<std::size_t>(c - '0');
  }
  return index < elements->size() ? &(*elements)[index] : nullptr;
}

const Json* follow(const Json& root, const Json& schema) {
  const Json* at = &schema;
  for (int step = 0; step < kMaxSteps; ++step) {
    const Json* reference = at->find("$ref");
    if (reference == nullptr) return at;
    if (reference->as_string() == nullptr) return nullptr;
    at = resolve_reference(root, *reference->as_string());
    if (at == nullptr) return nullptr;
  }
  return nullptr;
}

// The values that a schema with const or enum allows.
std::optional<std::vector<const Json*>> constants(const Json& schema) {
  std::vector<const Json*> values;
  if (const Json* value = schema.find("const")) {
    values.push_back(value);
    return values;
  }
  const Json* list = schema.find("enum");
  if (list == nullptr || !list->is_array()) return std::nullopt;
  for (const Json& value : *list->as_array()) values.push_back(&value);
  return values;
}

// Sure to differ: 1 and 1.0 do not, and neither do objects in another order, so these do not count.
bool differ(const Json& a, const Json& b) {
  if (a.kind() != b.kind()) return true;
  if (a.is_number()) return a.as_double() != b.as_double();
  if (a.is_string() || a.is_bool()) return !(a == b);
  return false;
}

bool differ(const std::vector<const Json*>& a, const std::vector<const Json*>& b) {
  return std::all_of(a.begin(), a.end(), [&](const Json* one) {
    return std::all_of(b.begin(), b.end(), [&](const Json* other) { return differ(*one, *other); });
  });
}

std::optional<std::vector<std::string>> types(const Json& schema) {
  std::vector<std::string> found;
  const Json* type = schema.find("type");
  if (type == nullptr) return std::nullopt;
  if (const std::string* one = type->as_string()) {
    found.push_back(*one);
  } else if (const Json::Array* several = type->as_array()) {
    for (const Json& each : *several) {
      if (each.as_string() == nullptr) return std::nullopt;
      found.push_back(*each.as_string());
    }
  }
  return found;
}

bool types_differ(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  const auto numeric = [](const std::string& t) { return t == "integer" || t == "number"; };
  for (const std::string& one : a) {
    for (const std::string& other : b) {
      if (one == other || (numeric(one) && numeric(other))) return false;
    }
  }
  return true;
}

bool requires_property(const Json& schema, const std::string& name) {
  const Json* required = schema.find("required");
  if (required == nullptr || !required->is_array()) return false;
  const Json::Array& names = *required->as_array();
  return std::any_of(names.begin(), names.end(), [&](const Json& each) {
    return each.as_string() != nullptr && *each.as_string() == name;
  });
}

bool is_object_schema(const Json& schema) {
  const auto found = types(schema);
  return found && found->size() == 1 && found->front() == "object";
}

bool tell_apart_by_property(const Json& root, const Json& a, const Json& b) {
  if (!is_object_schema(a) || !is_object_schema(b)) return false;
  const Json* properties = a.find("properties");
  const Json* others = b.find("properties");
  if (properties == nullptr || !properties->is_object() || others == nullptr) return false;
  for (const JsonMember& member : *properties->as_object()) {
    const Json* other = others->find(member.key);
    if (other == nullptr || !requires_property(a, member.key) || !requires_property(b, member.key))
      continue;
    const Json* one = follow(root, member.value);
    other = follow(root, *other);
    if (one == nullptr || other == nullptr) continue;
    const auto values = constants(*one);
    const auto other_values = constants(*other);
    if (values && other_values && differ(*values, *other_values)) return true;
  }
  return false;
}

}  // namespace

std::string pointer_to(const std::string& place, std::string_view key) {
  std::string out = place + "/";
  for (const char c : key) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
  }
  return out;
}

const Json* resolve_reference(const Json& root, std::string_view uri) {
  if (uri == "#") return &root;
  if (uri.substr(0, 2) != "#/") return nullptr;
  uri.remove_prefix(2);
  const Json* at = &root;
  while (at != nullptr) {
    const std::size_t slash = uri.find('/');
    at = child(*at, decode_part(uri.substr(0, slash)));
    if (slash == std::string_view::npos) break;
    uri.remove_prefix(slash + 1);
  }
  return at;
}

bool has_type(const Json& value, std::string_view type) {
  switch (value.kind()) {
    case Json::Kind::kNull:
      return type == "null";
    case Json::Kind::kBool:
      return type == "boolean";
    case Json::Kind::kNumber:
      return type == "number" || (type == "integer" && value.as_int64().has_value());
    case Json::Kind::kString:
      return type == "string";
    case Json::Kind::kArray:
      return type == "array";
    case Json::Kind::kObject:
      return type == "object";
  }
  return false;
}

bool exclude_each_other(const Json& root, const Json& a, const Json& b) {
  const Json* one = follow(root, a);
  const Json* other = follow(root, b);
  if (one == nullptr || other == nullptr) return false;
  const auto values = constants(*one);
  const auto other_values = constants(*other);
  if (values && other_values) return differ(*values, *other_values);
  const auto none_of_type = [](const std::vector<const Json*>& list,
                               const std::optional<std::vector<std::string>>& allowed) {
    return allowed && std::none_of(list.begin(), list.end(), [&](const Json* value) {
             return std::any_of(allowed->begin(), allowed->end(),
                                [&](const std::string& type) { return has_type(*value, type); });
           });
  };
  const auto one_types = types(*one);
  const auto other_types = types(*other);
  if (values) return none_of_type(*values, other_types);
  if (other_values) return none_of_type(*other_values, one_types);
  if (one_types && other_types && types_differ(*one_types, *other_types)) return true;
  return tell_apart_by_property(root, *one, *other);
}

Status schema_refused(const std::string& place, const std::string& why) {
  return invalid_argument("schema at " + (place.empty() ? "its root" : place) + ": " + why);
}

}  // namespace fathom::grammar
