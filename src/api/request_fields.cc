#include "api/request_fields.h"

#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

#include "base/check.h"

namespace fathom::api {

namespace {

constexpr std::size_t kBriefBytes = 80;

bool in_range(double value, const Range& range) {
  if (!std::isfinite(value) || value > range.most) return false;
  return range.least_excluded ? value > range.least : value >= range.least;
}

}  // namespace

std::string brief(const Json& value) {
  std::string text;
  if (value.is_array() || value.is_object()) {
    text = json_kind_name(value.kind());
    return text;
  }
  text = to_json(value);
  if (text.size() > kBriefBytes) {
    std::size_t end = kBriefBytes;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
    text.resize(end);
    text += "…";
  }
  return text;
}

bool truthy(const Json& value) {
  switch (value.kind()) {
    case Json::Kind::kNull:
      return false;
    case Json::Kind::kBool:
      return *value.as_bool();
    case Json::Kind::kNumber:
      return *value.as_double() != 0;
    case Json::Kind::kString:
      return !value.as_string()->empty();
    case Json::Kind::kArray:
      return !value.as_array()->empty();
    case Json::Kind::kObject:
      return !value.as_object()->empty();
  }
  return false;
}

std::optional<Refusal> read_token_ids(const Json& value,
                                      std::string_view name,
                                      std::int32_t vocab_size,
                                      std::vector<wire::TokenId>& out) {
  const Json::Array* elements = value.as_array();
  if (elements == nullptr) {
    return Refusal::shape(std::string(name) + ": " +
                          wrong_json_kind("an array of token ids", value));
  }
  out.reserve(elements->size());
  for (std::size_t i = 0; i < elements->size(); ++i) {
    const Json& element = (*elements)[i];
    const std::optional<std::int64_t> id = element.as_int64();
    if (id && *id >= 0 && *id < vocab_size) {
      out.push_back(static_cast<wire::TokenId>(*id));
      continue;
    }
    const std::string where = std::string(name) + "[" + std::to_string(i) + "]: ";
    if (!element.is_number()) {
      return Refusal::shape(where + wrong_json_kind("a token id", element));
    }
    return Refusal::semantic(where + "was " + brief(element) +
                             ", expected a token id of the model: 0 to " +
                             std::to_string(vocab_size - 1));
  }
  return std::nullopt;
}

std::optional<Refusal> check_name(std::string_view field, std::string_view text) {
  if (text.size() <= kMaxNameBytes) return std::nullopt;
  return Refusal::semantic(std::string(field) + ": has " + std::to_string(text.size()) +
                           " bytes, expected at most " + std::to_string(kMaxNameBytes));
}

FieldReader::FieldReader(const Json& body, std::string where)
    : body_(&body), where_(std::move(where)) {
  FATHOM_CHECK(body.is_object());
}

std::string FieldReader::path(std::string_view name) const { return where_ + std::string(name); }

void FieldReader::refuse(Refusal refusal) {
  if (!refusal_) refusal_ = std::move(refusal);
}

void FieldReader::refuse_value(std::string_view name,
                               const Json& value,
                               std::string_view expected) {
  if (refusal_) return;
  refusal_ = Refusal::semantic(path(name) + ": was " + brief(value) + ", expected " +
                               std::string(expected));
}

void FieldReader::refuse_kind(std::string_view name, const Json& value, std::string_view wanted) {
  if (refusal_) return;
  refusal_ = Refusal::shape(path(name) + ": " + wrong_json_kind(wanted, value));
}

bool FieldReader::says_null(std::string_view name) const {
  const Json* value = body_->find(name);
  return value != nullptr && value->is_null();
}

bool FieldReader::boolean(std::string_view name, bool fallback) {
  const Json* value = find(name);
  if (value == nullptr) return fallback;
  if (!value->is_bool()) refuse_kind(name, *value, "true or false");
  return value->as_bool().value_or(fallback);
}

std::string FieldReader::text(std::string_view name, std::string_view fallback) {
  const Json* value = find(name);
  if (value == nullptr) return std::string(fallback);
  if (const std::string* text = value->as_string(); text != nullptr) return *text;
  refuse_kind(name, *value, "a string");
  return std::string(fallback);
}

std::string FieldReader::name_text(std::string_view name, std::string_view fallback) {
  std::string out = text(name, fallback);
  if (find(name) != nullptr) {
    if (auto refusal = check_name(path(name), out)) refuse(std::move(*refusal));
  }
  return out;
}

std::optional<std::int64_t> FieldReader::integer(std::string_view name,
                                                 std::int64_t least,
                                                 std::int64_t most) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) {
    refuse_kind(name, *value, "a whole number");
    return std::nullopt;
  }
  const std::optional<std::int64_t> number = value->as_int64();
  if (number && *number >= least && *number <= most) return number;
  refuse_value(name, *value,
               "a whole number from " + std::to_string(least) + " to " + std::to_string(most));
  return std::nullopt;
}

std::optional<double> FieldReader::number(std::string_view name, const Range& range) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) {
    refuse_kind(name, *value, "a number");
    return std::nullopt;
  }
  const double number = *value->as_double();
  if (in_range(number, range)) return number;
  refuse_value(name, *value, range.text);
  return std::nullopt;
}

std::optional<std::uint64_t> FieldReader::seed(std::string_view name) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) {
    refuse_kind(name, *value, "a whole number");
    return std::nullopt;
  }
  if (const auto number = value->as_int64()) return static_cast<std::uint64_t>(*number);
  const std::string& text = *value->as_number_text();
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size()) return number;
  refuse_value(name, *value, "a whole number of 64 bits");
  return std::nullopt;
}

std::vector<wire::TokenId> FieldReader::token_ids(std::string_view name, std::int32_t vocab_size) {
  std::vector<wire::TokenId> ids;
  const Json* value = find(name);
  if (value == nullptr) return ids;
  if (auto refusal = read_token_ids(*value, path(name), vocab_size, ids)) {
    refuse(std::move(*refusal));
  }
  return ids;
}

const Json* FieldReader::object(std::string_view name) {
  const Json* value = find(name);
  if (value == nullptr || value->is_object()) return value;
  refuse_kind(name, *value, "an object");
  return nullptr;
}

void FieldReader::not_built_unless(std::string_view name, bool neutral) {
  const Json* value = find(name);
  if (value != nullptr && !neutral) refuse(Refusal::semantic("not built yet: " + path(name)));
}

void FieldReader::not_built(std::string_view name) { not_built_unless(name, false); }

void FieldReader::not_built_unless_empty(std::string_view name) {
  const Json* value = find(name);
  not_built_unless(
      name, value == nullptr || ((value->is_array() || value->is_object()) && !truthy(*value)));
}

}  // namespace fathom::api
