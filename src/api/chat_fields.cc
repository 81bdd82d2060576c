#include "api/chat_fields.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string>
#include <string_view>

namespace fathom::api {

namespace {

// An effort in words, or as a fraction. Only whether there is any matters to this model.
std::optional<bool> read_effort(FieldReader& fields, std::string_view name) {
  constexpr std::array<std::string_view, 6> kEfforts{"minimal", "low",   "medium",
                                                     "high",    "xhigh", "max"};
  constexpr double kMostEffort = 0.99;
  const Json* value = fields.find(name);
  if (value == nullptr) return std::nullopt;
  if (const std::string* word = value->as_string()) {
    if (*word == "none") return false;
    if (std::find(kEfforts.begin(), kEfforts.end(), *word) != kEfforts.end()) return true;
  } else if (const std::optional<double> fraction = value->as_double()) {
    if (*fraction >= 0 && *fraction <= kMostEffort) return true;
  }
  fields.refuse_value(name, *value,
                      "none, minimal, low, medium, high, xhigh, max or a number from 0 to 0.99");
  return std::nullopt;
}

std::optional<bool> read_reasoning(FieldReader& fields) {
  const Json* value = fields.object("reasoning");
  if (value == nullptr) return std::nullopt;
  FieldReader inner(*value, "reasoning.");
  const bool enabled = inner.boolean("enabled", false);
  const std::optional<bool> effort = read_effort(inner, "effort");
  if (inner.refusal()) fields.refuse(*inner.refusal());
  return inner.find("enabled") != nullptr ? std::optional(enabled) : effort;
}

}  // namespace

bool read_thinking(FieldReader& fields, bool fallback) {
  // All of them are read, so that one that is wrong is refused even where another decides.
  const std::optional<bool> effort = read_effort(fields, "reasoning_effort");
  const std::optional<bool> reasoning = read_reasoning(fields);
  if (const Json* arguments = fields.object("chat_template_kwargs")) {
    for (const std::string_view name : {"thinking", "enable_thinking"}) {
      if (const Json* value = arguments->find_set(name)) return truthy(*value);
    }
  }
  return reasoning.value_or(effort.value_or(fallback));
}

std::optional<std::int32_t> read_max_tokens(FieldReader& fields) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  const auto completion = fields.integer("max_completion_tokens", 0, kMost);
  const auto tokens = fields.integer("max_tokens", 0, kMost);
  const std::int64_t most = completion.value_or(0) > 0 ? *completion : tokens.value_or(0);
  if (most == 0) return std::nullopt;
  return static_cast<std::int32_t>(most);
}

void check_tool_choice(FieldReader& fields) {
  constexpr std::string_view kName = "tool_choice";
  const Json* value = fields.find(kName);
  if (value == nullptr) return;
  const std::string* word = value->as_string();
  if (word == nullptr && !value->is_object()) {
    fields.refuse_kind(kName, *value, "a string or an object");
    return;
  }
  if (word != nullptr && *word != "auto" && *word != "none" && *word != "required") {
    fields.refuse_value(kName, *value, "auto, none, required or a function");
    return;
  }
  fields.not_built_unless(kName, word != nullptr && *word != "required");
}

}  // namespace fathom::api
