#include "grammar/structural_tag.h"

#include <string>
#include <utility>

#include "grammar/library.h"
#include "grammar/repetition.h"
#include "grammar/schema_shape.h"

namespace fathom::grammar {

namespace {

Status refused(const std::string& place, const std::string& why) {
  return invalid_argument("structural tag at " + (place.empty() ? "its root" : place) + ": " + why);
}

class Normalizer {
 public:
  Normalizer(int max_depth, std::vector<SchemaPattern>& patterns)
      : max_depth_(max_depth), patterns_(patterns) {}

  // `repeated`: how often what stands here may occur.
  Result<Json> format(const Json& value, const std::string& place, std::int64_t repeated) {
    if (const Json::Array* elements = value.as_array()) {
      Json::Array out;
      for (const Json& element : *elements) {
        Result<Json> inner =
            format(element, pointer_to(place, std::to_string(out.size())), repeated);
        if (!inner.ok()) return inner;
        out.push_back(std::move(*inner));
      }
      return Json::array(std::move(out));
    }
    if (!value.is_object()) return value;
    FATHOM_RETURN_IF_ERROR(leaf(value, place));
    Result<std::int64_t> count = repetitions(value, place, repeated);
    if (!count.ok()) return count.status();
    Json out = Json::object();
    bool has_schema = false;
    for (const JsonMember& member : *value.as_object()) {
      const std::string at = pointer_to(place, member.key);
      if (member.key == "json_schema") {
        Result<Json> schema = normalize_schema(member.value, patterns_);
        if (!schema.ok()) return schema.status().in("structural tag at " + at);
        out.set(member.key, std::move(*schema));
        has_schema = true;
        continue;
      }
      Result<Json> inner = format(member.value, at, *count);
      if (!inner.ok()) return inner;
      out.set(member.key, std::move(*inner));
    }
    if (has_schema) out.set("max_whitespace_cnt", Json::integer(kMaxJsonBlanks));
    return out;
  }

 private:
  Status leaf(const Json& value, const std::string& place) const {
    if (const Json* pattern = value.find("pattern"); pattern && pattern->as_string()) {
      if (Status s = check_regex(*pattern->as_string(), max_depth_); !s.ok()) {
        return refused(pointer_to(place, "pattern"), s.message());
      }
    }
    if (const Json* ebnf = value.find("grammar"); ebnf && ebnf->as_string()) {
      if (Status s = check_ebnf(*ebnf->as_string(), max_depth_); !s.ok()) {
        return refused(pointer_to(place, "grammar"), s.message());
      }
    }
    return {};
  }

  static Result<std::int64_t> repetitions(const Json& value,
                                          const std::string& place,
                                          std::int64_t repeated) {
    for (const char* key : {"min", "max"}) {
      const Json* number = value.find(key);
      if (number == nullptr) continue;
      const std::int64_t count = number->as_int64().value_or(kMaxCount + 1);
      if (count > kMaxCount || count < -1) {
        return refused(pointer_to(place, key),
                       "expected an integer up to " + std::to_string(kMaxCount));
      }
      const bool nested = repeated > 1 && count > 1;
      if (nested && repeated * count > kMaxNestedRepetition) {
        return refused(pointer_to(place, key), "repetitions within repetitions come to more than " +
                                                   std::to_string(kMaxNestedRepetition));
      }
      if (key == std::string_view("max") && count > 1) repeated *= count;
    }
    return repeated;
  }

  int max_depth_;
  std::vector<SchemaPattern>& patterns_;
};

// The older form as the present one.
Result<Json> modern(const Json& tag) {
  const Json* structures = tag.find("structures");
  if (structures == nullptr) return tag;
  const Json* triggers = tag.find("triggers");
  if (!structures->is_array() || triggers == nullptr || !triggers->is_array()) {
    return refused("", "expected arrays \"structures\" and \"triggers\"");
  }
  Json::Array tags;
  for (const Json& structure : *structures->as_array()) {
    const std::string place = "/structures/" + std::to_string(tags.size());
    const Json* begin = structure.find("begin");
    const Json* end = structure.find("end");
    if (begin == nullptr || end == nullptr) return refused(place, "lacks \"begin\" or \"end\"");
    Json content = Json::object();
    content.set("type", Json::string("json_schema"));
    const Json* schema = structure.find_set("schema");
    content.set("json_schema", schema != nullptr ? *schema : Json::object());
    Json one = Json::object();
    one.set("type", Json::string("tag"));
    one.set("begin", *begin);
    one.set("content", std::move(content));
    one.set("end", *end);
    tags.push_back(std::move(one));
  }
  Json format = Json::object();
  format.set("type", Json::string("triggered_tags"));
  format.set("triggers", *triggers);
  format.set("tags", Json::array(std::move(tags)));
  Json out = Json::object();
  out.set("type", Json::string("structural_tag"));
  out.set("format", std::move(format));
  return out;
}

}  // namespace

Result<Json> normalize_structural_tag(const Json& tag,
                                      int max_depth,
                                      std::vector<SchemaPattern>& patterns) {
  if (!tag.is_object()) return refused("", wrong_json_kind("an object", tag));
  Result<Json> present = modern(tag);
  if (!present.ok()) return present;
  return Normalizer(max_depth, patterns).format(*present, "", 1);
}

}  // namespace fathom::grammar
