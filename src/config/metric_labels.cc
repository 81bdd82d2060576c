#include "config/metric_labels.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

namespace fathom::config {

namespace {

constexpr std::size_t kMaxLabels = 8;
constexpr std::size_t kMaxNameBytes = 64;
constexpr std::size_t kMaxValueBytes = 256;

// The labels that our metrics have already.
constexpr auto kOurs = std::to_array<std::string_view>(
    {"model_name", "engine_type", "tp_rank", "pp_rank", "moe_ep_rank", "dp_rank", "le", "quantile",
     "stage", "mode", "name", "category", "endpoint", "method", "status_code"});

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Whether a header may be called so.
bool is_token(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameBytes &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return is_letter(c) || is_digit(c) ||
                  std::string_view("!#$%&'*+-.^`|~").find(c) != std::string_view::npos;
         });
}

Status refuse_label(const std::string& shown, const std::string& name, const char* wanted) {
  std::string text = shown;
  text.append(": label '").append(name).append("': ").append(wanted);
  return invalid_argument(std::move(text));
}

// What is wrong with a label's name.
Status check_name(const std::string& shown, const std::string& name) {
  if (name.size() > kMaxNameBytes) {
    return invalid_argument(shown + ": a label's name has " + std::to_string(name.size()) +
                            " bytes, expected at most " + std::to_string(kMaxNameBytes));
  }
  if (name.empty() || !is_letter(name.front()) ||
      !std::all_of(name.begin(), name.end(), [](char c) { return is_letter(c) || is_digit(c); })) {
    return refuse_label(shown, name, "expected letters, digits and '_', and no digit first");
  }
  if (name.starts_with("__"))
    return refuse_label(shown, name, "names that begin with '__' are Prometheus' own");
  if (std::find(kOurs.begin(), kOurs.end(), name) != kOurs.end()) {
    return refuse_label(shown, name, "metrics have a label of this name already");
  }
  return {};
}

Status check_count(const std::string& shown, std::size_t count) {
  if (count <= kMaxLabels) return {};
  return invalid_argument(shown + ": were " + std::to_string(count) + " labels, expected at most " +
                          std::to_string(kMaxLabels));
}

Status read_extra_labels(const FlagValues& flags, MonitoringPlan& plan) {
  const Json& given = flags.get("extra_metric_labels");
  if (given.is_null()) return {};
  const std::string shown = flags.shown("extra_metric_labels");
  const Json::Object* const members = given.as_object();
  if (members == nullptr) return invalid_argument(shown + ": expected a JSON object of strings");
  FATHOM_RETURN_IF_ERROR(check_count(shown, members->size()));
  for (const JsonMember& member : *members) {
    FATHOM_RETURN_IF_ERROR(check_name(shown, member.key));
    const std::string* const value = member.value.as_string();
    if (value == nullptr) {
      return refuse_label(shown, member.key, "expected a string");
    }
    if (value->empty() || value->size() > kMaxValueBytes ||
        std::any_of(value->begin(), value->end(),
                    [](unsigned char c) { return c < 0x20 || c == 0x7F; })) {
      return refuse_label(shown, member.key, "expected 1 to 256 bytes without control characters");
    }
    const auto same = [&](const auto& other) { return other.first == member.key; };
    if (std::any_of(plan.extra_labels.begin(), plan.extra_labels.end(), same)) {
      return refuse_label(shown, member.key, "it is there twice");
    }
    plan.extra_labels.emplace_back(member.key, *value);
  }
  return {};
}

}  // namespace

Status plan_labels(const FlagValues& flags, MonitoringPlan& plan) {
  FATHOM_RETURN_IF_ERROR(read_extra_labels(flags, plan));
  plan.custom_labels_header = flags.text("tokenizer_metrics_custom_labels_header");
  const Json::Array* const names = flags.get("tokenizer_metrics_allowed_custom_labels").as_array();
  if (names == nullptr) return {};
  const std::string shown = flags.shown("tokenizer_metrics_allowed_custom_labels");
  FATHOM_RETURN_IF_ERROR(check_count(shown, names->size()));
  if (!is_token(plan.custom_labels_header)) {
    return invalid_argument(flags.shown("tokenizer_metrics_custom_labels_header") +
                            ": expected the name of an HTTP header");
  }
  for (const Json& word : *names) {
    const std::string& name = *word.as_string();
    FATHOM_RETURN_IF_ERROR(check_name(shown, name));
    const auto same = [&name](const auto& other) { return other.first == name; };
    if (std::find(plan.custom_labels.begin(), plan.custom_labels.end(), name) !=
            plan.custom_labels.end() ||
        std::any_of(plan.extra_labels.begin(), plan.extra_labels.end(), same)) {
      return refuse_label(shown, name, "it is there twice");
    }
    plan.custom_labels.push_back(name);
  }
  return {};
}

}  // namespace fathom::config
