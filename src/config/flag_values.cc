#include "config/flag_values.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/check.h"

namespace fathom::config {
namespace {

std::size_t place(std::string_view name) {
  const std::optional<std::size_t> found = find_flag(name);
  FATHOM_CHECK_MSG(found.has_value(), std::string(name) + " is no flag");
  return *found;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\n\r\f\v";
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

// Python's spelling of a number: blanks around it, a sign, single underscores between digits.
std::optional<std::string> plain_number(std::string_view text) {
  text = trimmed(text);
  if (text.starts_with('+')) text.remove_prefix(1);
  if (text.empty() || text[0] == '+') return std::nullopt;
  const auto digit = [&](std::size_t at) {
    return at < text.size() && text[at] >= '0' && text[at] <= '9';
  };
  std::string plain;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '_') {
      plain += text[at];
    } else if (at == 0 || !digit(at - 1) || !digit(at + 1)) {
      return std::nullopt;
    }
  }
  return plain;
}

template <class Number>
std::optional<Number> whole_number(std::string_view text) {
  const std::optional<std::string> plain = plain_number(text);
  if (!plain.has_value()) return std::nullopt;
  Number value{};
  const char* const end = plain->data() + plain->size();
  const auto [next, error] = std::from_chars(plain->data(), end, value);
  if (error != std::errc() || next != end) return std::nullopt;
  return value;
}

std::string python_string(std::string_view text) {
  const char quote =
      text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos ? '"'
                                                                                            : '\'';
  std::string shown(1, quote);
  for (const char c : text) {
    if (c == '\n') {
      shown += "\\n";
    } else {
      if (c == quote || c == '\\') shown += '\\';
      shown += c;
    }
  }
  return shown + quote;
}

std::string python_text(const Json& value) {
  switch (value.kind()) {
    case Json::Kind::kNull:
      return "None";
    case Json::Kind::kBool:
      return *value.as_bool() ? "True" : "False";
    case Json::Kind::kNumber:
      return *value.as_number_text();
    case Json::Kind::kString:
      return python_string(*value.as_string());
    case Json::Kind::kArray: {
      std::string shown = "[";
      for (const Json& element : *value.as_array()) {
        if (shown.size() > 1) shown += ", ";
        shown += python_text(element);
      }
      return shown + "]";
    }
    case Json::Kind::kObject: {
      std::string shown = "{";
      for (const JsonMember& member : *value.as_object()) {
        if (shown.size() > 1) shown += ", ";
        shown += python_string(member.key) + ": " + python_text(member.value);
      }
      return shown + "}";
    }
  }
  FATHOM_CHECK(false);
}

bool tells_only_this_program(std::string_view name) {
  return name == "config" || name == "dry_run" || name == "json" || name == "for_machine";
}

bool is_secret(std::string_view name) {
  return name == "api_key" || name == "admin_api_key" || name == "ssl_keyfile_password";
}

std::string words_of(const Json& value) {
  if (const std::string* text = value.as_string()) return *text;
  if (const Json::Array* elements = value.as_array()) {
    std::string shown;
    for (const Json& element : *elements) shown += (shown.empty() ? "" : " ") + words_of(element);
    return shown;
  }
  return to_json(value);
}

}  // namespace

FlagValues::FlagValues() {
  static const std::vector<Json> every_default = [] {
    std::vector<Json> defaults;
    for (const Flag* flag : all_flags()) defaults.push_back(default_value(*flag));
    return defaults;
  }();
  entries_.resize(every_default.size());
  for (std::size_t i = 0; i < entries_.size(); ++i) entries_[i].value = every_default[i];
}

const FlagValues::Entry& FlagValues::entry(std::string_view name) const {
  return entries_[place(name)];
}

FlagValues::Entry& FlagValues::entry(std::string_view name) { return entries_[place(name)]; }

const Json& FlagValues::get(std::string_view name) const { return entry(name).value; }

ValueSource FlagValues::source(std::string_view name) const { return entry(name).source; }

bool FlagValues::given(std::string_view name) const { return !entry(name).spelling.empty(); }

bool FlagValues::changed(std::string_view name) const {
  const Entry& found = entry(name);
  return !found.spelling.empty() && found.given != default_value(*all_flags()[place(name)]);
}

std::string FlagValues::shown(std::string_view name) const {
  const Flag& flag = *all_flags()[place(name)];
  const Entry& found = entry(name);
  std::string text(found.spelling.empty() ? primary_spelling(flag)
                                          : std::string_view(found.spelling));
  if (is_switch(flag.kind)) return text;
  const Json& value = found.spelling.empty() ? found.value : found.given;
  return text + " " + (is_secret(name) ? "***" : words_of(value));
}

bool FlagValues::is_on(std::string_view name) const { return get(name).as_bool().value_or(false); }

std::int64_t FlagValues::integer(std::string_view name, std::int64_t absent) const {
  return get(name).as_int64().value_or(absent);
}

double FlagValues::number(std::string_view name, double absent) const {
  return get(name).as_double().value_or(absent);
}

std::string FlagValues::text(std::string_view name) const {
  const std::string* value = get(name).as_string();
  return value == nullptr ? std::string() : *value;
}

std::vector<std::int64_t> FlagValues::integers(std::string_view name) const {
  std::vector<std::int64_t> values;
  if (const Json::Array* elements = get(name).as_array()) {
    for (const Json& element : *elements) values.push_back(element.as_int64().value_or(0));
  }
  return values;
}

void FlagValues::give(std::string_view name,
                      Json value,
                      ValueSource source,
                      std::string_view spelling) {
  Entry& found = entry(name);
  found.value = value;
  found.given = std::move(value);
  found.source = source;
  found.spelling = spelling;
}

void FlagValues::derive(std::string_view name, Json value) {
  Entry& found = entry(name);
  if (found.value == value) return;
  found.value = std::move(value);
  found.source = ValueSource::kDerived;
}

Json default_value(const Flag& flag) {
  if (flag.kind == FlagKind::kSwitch) return Json::boolean(false);
  if (flag.initial.empty()) {
    // What SGLang calls an empty text, not an absent one.
    const bool empty_text = flag.name == "fastapi_root_path" || flag.name == "torchao_config";
    return empty_text ? Json::string("") : Json();
  }
  Result<Json> value = parse_value(flag, flag.initial);
  FATHOM_CHECK_MSG(value.ok(), value.status().message());
  return std::move(value).value();
}

Result<Json> parse_value(const Flag& flag, std::string_view word) {
  const std::string quoted = python_string(word);
  switch (flag.kind) {
    case FlagKind::kInt:
    case FlagKind::kIntList: {
      const std::optional<std::int64_t> value = whole_number<std::int64_t>(word);
      if (!value.has_value()) return invalid_argument("invalid int value: " + quoted);
      const std::vector<std::string_view> choices = words(flag.choices);
      if (!choices.empty() && std::ranges::find(choices, std::to_string(*value)) == choices.end()) {
        return invalid_argument("invalid choice: " + std::to_string(*value) + " (choose from " +
                                std::string(flag.choices) + ")");
      }
      return Json::integer(*value);
    }
    case FlagKind::kFloat:
    case FlagKind::kFloatOrBare:
    case FlagKind::kFloatList: {
      const std::optional<double> value = whole_number<double>(word);
      // Python takes inf and nan too, but no flag has a use for them.
      if (!value.has_value() || Json::number(*value).is_null()) {
        return invalid_argument("invalid float value: " + quoted);
      }
      return Json::number(*value);
    }
    case FlagKind::kJson: {
      JsonLimits limits;
      limits.max_bytes = std::size_t{1} << 20;
      Result<Json> value = parse_json(word, limits);
      if (!value.ok()) return invalid_argument("invalid JSON value: " + value.status().message());
      return value;
    }
    case FlagKind::kSwitch:
    case FlagKind::kToggle:
    case FlagKind::kString:
    case FlagKind::kStringList:
    case FlagKind::kStringListOrNone:
      break;
  }
  const std::vector<std::string_view> choices = words(flag.choices);
  if (!choices.empty() && std::ranges::find(choices, word) == choices.end()) {
    std::string listed;
    for (const std::string_view choice : choices) {
      listed += (listed.empty() ? "" : ", ") + python_string(choice);
    }
    return invalid_argument("invalid choice: " + quoted + " (choose from " + listed + ")");
  }
  return Json::string(std::string(word));
}

Json server_arguments(const FlagValues& values) {
  Json::Object members;
  for (const Flag* flag : all_flags()) {
    if (tells_only_this_program(flag->name)) continue;
    const Json& value = values.get(flag->name);
    members.push_back({std::string(flag->name),
                       is_secret(flag->name) && !value.is_null() ? Json::string("***") : value});
  }
  return Json::object(std::move(members));
}

std::string server_arguments_line(const FlagValues& values) {
  std::string line = "ServerArgs(";
  bool first = true;
  const Json arguments = server_arguments(values);
  for (const JsonMember& member : *arguments.as_object()) {
    line += (first ? "" : ", ") + member.key + "=" + python_text(member.value);
    first = false;
  }
  return line + ")";
}

}  // namespace fathom::config
