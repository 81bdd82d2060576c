#include "config/environment.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <utility>

#include "base/check.h"

namespace fathom::config {
namespace {

std::string plain(double value) { return to_json(Json::integer(static_cast<std::int64_t>(value))); }

Status wrong(const Variable& variable, const std::string& text, const std::string& expected) {
  return invalid_argument("environment: " + std::string(variable.name) + " is '" + text +
                          "', expected " + expected);
}

Result<Json> parse_switch(const Variable& variable, const std::string& text) {
  constexpr std::array<std::string_view, 4> kOn = {"1", "true", "yes", "y"};
  constexpr std::array<std::string_view, 4> kOff = {"0", "false", "no", "n"};
  std::string lower = text;
  std::ranges::transform(lower, lower.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (std::ranges::find(kOn, lower) != kOn.end()) return Json::boolean(true);
  if (std::ranges::find(kOff, lower) != kOff.end()) return Json::boolean(false);
  return wrong(variable, text, "1 or 0");
}

template <class Number>
std::optional<Number> read_number(const std::string& text) {
  Number value{};
  const char* const end = text.data() + text.size();
  const auto [next, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || next != end) return std::nullopt;
  return value;
}

std::string range_text(const Variable& variable) {
  const std::string kind = variable.kind == VariableKind::kInt ? "a whole number" : "a number";
  if (variable.high >= 1e9) return kind + ", at least " + plain(variable.low);
  return kind + " from " + plain(variable.low) + " to " + plain(variable.high);
}

bool in_range(const Variable& variable, double value) {
  return value >= variable.low && value <= variable.high;
}

Result<Json> parse(const Variable& variable, const std::string& text) {
  switch (variable.kind) {
    case VariableKind::kText:
      return Json::string(text);
    case VariableKind::kSwitch:
      return parse_switch(variable, text);
    case VariableKind::kInt: {
      const auto value = read_number<std::int64_t>(text);
      if (!value.has_value() || !in_range(variable, static_cast<double>(*value))) {
        return wrong(variable, text, range_text(variable));
      }
      return Json::integer(*value);
    }
    case VariableKind::kFloat: {
      const auto value = read_number<double>(text);
      if (!value.has_value() || !in_range(variable, *value)) {
        return wrong(variable, text, range_text(variable));
      }
      return Json::number(*value);
    }
  }
  FATHOM_CHECK(false);
}

Json initial_value(const Variable& variable) {
  if (variable.initial.empty()) return {};
  Result<Json> value = parse(variable, std::string(variable.initial));
  FATHOM_CHECK_MSG(value.ok(), value.status().message());
  return std::move(value).value();
}

std::size_t place(std::string_view name) {
  const std::span<const Variable> all = environment_variables();
  const auto found = std::ranges::find(all, name, &Variable::name);
  FATHOM_CHECK_MSG(found != all.end(), std::string(name) + " is no variable of the table");
  return static_cast<std::size_t>(found - all.begin());
}

}  // namespace

EnvironmentValues::EnvironmentValues() {
  for (const Variable& variable : environment_variables()) {
    entries_.push_back({initial_value(variable), false});
  }
}

Result<EnvironmentValues> EnvironmentValues::read(const GetEnvironment& get) {
  EnvironmentValues values;
  std::size_t at = 0;
  for (const Variable& variable : environment_variables()) {
    Entry& entry = values.entries_[at++];
    const std::optional<std::string> text = get(std::string(variable.name));
    if (!text.has_value() || text->empty()) continue;
    Result<Json> value = parse(variable, *text);
    if (value.ok()) {
      entry = {std::move(value).value(), true};
    } else if (variable.lenient) {
      values.warnings_.push_back(value.status().message() + "; ignored");
    } else {
      return value.status();
    }
  }
  return values;
}

const EnvironmentValues::Entry& EnvironmentValues::entry(std::string_view name) const {
  return entries_[place(name)];
}

bool EnvironmentValues::is_set(std::string_view name) const { return entry(name).set; }

bool EnvironmentValues::changed(std::string_view name) const {
  const Entry& found = entry(name);
  return found.set && found.value != initial_value(environment_variables()[place(name)]);
}

bool EnvironmentValues::is_on(std::string_view name) const {
  return entry(name).value.as_bool().value_or(false);
}

std::int64_t EnvironmentValues::integer(std::string_view name, std::int64_t absent) const {
  return entry(name).value.as_int64().value_or(absent);
}

std::string EnvironmentValues::text(std::string_view name) const {
  const Json& value = entry(name).value;
  if (value.is_null()) return {};
  const std::string* text = value.as_string();
  return text == nullptr ? to_json(value) : *text;
}

}  // namespace fathom::config
