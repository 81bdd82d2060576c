#include <charconv>
#include <cmath>
#include <optional>
#include <set>

#include "config/resolution.h"

// Step 10: settings that must agree with each other.
namespace fathom::config {
namespace {

std::optional<double> number_of(const Json& word) {
  const std::string* text = word.as_string();
  if (text == nullptr) return std::nullopt;
  double value = 0;
  const char* const end = text->data() + text->size();
  const auto [next, error] = std::from_chars(text->data(), end, value);
  if (error != std::errc() || next != end || !std::isfinite(value)) return std::nullopt;
  return value;
}

Status check_tse(const std::string& shown, const std::vector<double>& numbers) {
  if (numbers.size() != 3) {
    return invalid_argument(shown +
                            ": tse takes three numbers, the middle, the base and the "
                            "count");
  }
  if (numbers[0] <= 0) return invalid_argument(shown + ": expected a middle above 0");
  if (numbers[1] <= 1) return invalid_argument(shown + ": expected a base above 1");
  if (numbers[2] <= 0) return invalid_argument(shown + ": expected a count above 0");
  return {};
}

Status check_custom(const std::string& shown, const std::vector<double>& numbers) {
  if (numbers.empty()) return invalid_argument(shown + ": custom takes at least one number");
  std::set<double> seen;
  for (const double number : numbers) {
    if (number < 0) return invalid_argument(shown + ": expected no negative numbers");
    if (!seen.insert(number).second) return invalid_argument(shown + ": expected no number twice");
  }
  return {};
}

Status check_buckets(const FlagValues& flags, std::string_view name) {
  const Json::Array* given = flags.get(name).as_array();
  if (given == nullptr || given->empty()) return {};
  const std::string shown = flags.shown(name);
  const std::string rule = given->front().as_string() != nullptr ? *given->front().as_string() : "";
  if (rule == "default") {
    if (given->size() == 1) return {};
    return invalid_argument(shown + ": default takes no numbers");
  }
  if (rule != "tse" && rule != "custom") {
    return invalid_argument(shown + ": expected default, tse or custom first");
  }
  std::vector<double> numbers;
  for (std::size_t i = 1; i < given->size(); ++i) {
    const std::optional<double> number = number_of((*given)[i]);
    if (!number.has_value())
      return invalid_argument(std::string(shown).append(": expected numbers after ").append(rule));
    numbers.push_back(*number);
  }
  return rule == "tse" ? check_tse(shown, numbers) : check_custom(shown, numbers);
}

Status check_observability(const FlagValues& flags) {
  for (const char* const name : {"prompt_tokens_buckets", "generation_tokens_buckets"}) {
    FATHOM_RETURN_IF_ERROR(check_buckets(flags, name));
  }
  if (flags.has("tokenizer_metrics_allowed_custom_labels") &&
      flags.text("tokenizer_metrics_custom_labels_header").empty()) {
    return invalid_argument(flags.shown("tokenizer_metrics_allowed_custom_labels") +
                            " needs --tokenizer-metrics-custom-labels-header");
  }
  if (flags.is_on("export_metrics_to_file") && !flags.has("export_metrics_to_file_dir")) {
    return invalid_argument("--export-metrics-to-file needs --export-metrics-to-file-dir");
  }
  return {};
}

Status check_nodes(const FlagValues& flags) {
  const std::int64_t nodes = flags.integer("nnodes");
  const std::int64_t ranks = flags.integer("tp_size") * flags.integer("pp_size");
  if (ranks % nodes != 0) {
    return invalid_argument(flags.shown("tp_size") + ", " + flags.shown("pp_size") + " and " +
                            flags.shown("nnodes") + ": " + std::to_string(ranks) +
                            " ranks cannot be spread evenly over " + std::to_string(nodes) +
                            " nodes");
  }
  if (flags.integer("node_rank") >= nodes) {
    return invalid_argument(flags.shown("node_rank") + " and " + flags.shown("nnodes") +
                            ": node ranks go from 0 to " + std::to_string(nodes - 1));
  }
  if (nodes > 1 && !flags.has("dist_init_addr")) {
    return invalid_argument(flags.shown("nnodes") +
                            " needs --dist-init-addr HOST:PORT, the same on every node");
  }
  if (flags.has("dist_init_addr")) {
    FATHOM_RETURN_IF_ERROR(parse_meeting_point(flags.text("dist_init_addr")).status());
  }
  return {};
}

// Prompts are cut at whole pages; a decode instance has none.
Status check_chunk(const FlagValues& flags) {
  const std::int64_t chunk = flags.integer("chunked_prefill_size");
  if (flags.text("disaggregation_mode") == "decode") return {};
  // Divided away by the DP groups: a chunk that is on must hold a page.
  const bool divided_away = chunk == 0 && flags.given("chunked_prefill_size") &&
                            flags.integer("dp_size") > 1 && flags.changed("chunked_prefill_size");
  if (chunk <= 0 && !divided_away) return {};
  if (chunk > 0 && chunk % kPageTokens == 0) return {};
  return invalid_argument(flags.shown("chunked_prefill_size") + " and " + flags.shown("dp_size") +
                          ": the chunk of a DP group is " + std::to_string(chunk) +
                          " tokens; expected a multiple of the page of " +
                          std::to_string(kPageTokens) + ", so a multiple of " +
                          std::to_string(kPageTokens * flags.integer("dp_size")) + " in all");
}

Status check_head(const FlagValues& flags) {
  if (flags.is_on("enable_dp_lm_head") && flags.is_on("enable_tp_lm_head_all_to_all")) {
    return invalid_argument(
        "--enable-dp-lm-head and --enable-tp-lm-head-all-to-all: give one of "
        "them");
  }
  return {};
}

}  // namespace

Result<MeetingPoint> parse_meeting_point(const std::string& text) {
  const Status wrong =
      invalid_argument("--dist-init-addr " + text + ": expected HOST:PORT or [IPV6]:PORT");
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) return wrong;
  MeetingPoint point;
  point.host = text.substr(0, colon);
  if (point.host.front() == '[') {
    if (point.host.size() < 3 || point.host.back() != ']') return wrong;
    point.host = point.host.substr(1, point.host.size() - 2);
  } else if (point.host.find(':') != std::string::npos) {
    return wrong;
  }
  const char* const end = text.data() + text.size();
  const auto [next, error] = std::from_chars(text.data() + colon + 1, end, point.port);
  if (error != std::errc() || next != end || point.port < 1 || point.port > 65535) return wrong;
  return point;
}

Status cross_check(Resolution& r) {
  const FlagValues& flags = r.flags;
  FATHOM_RETURN_IF_ERROR(check_nodes(flags));
  if (flags.has("moe_dense_tp_size") && flags.integer("moe_dense_tp_size") != 1) {
    return invalid_argument(flags.shown("moe_dense_tp_size") + ": expected 1, or leave it out");
  }
  const std::string name = flags.text("served_model_name");
  if (name.find(':') != std::string::npos) {
    return invalid_argument(flags.shown("served_model_name") +
                            ": a colon is kept for model:adapter; expected a name without");
  }
  FATHOM_RETURN_IF_ERROR(check_chunk(flags));
  FATHOM_RETURN_IF_ERROR(check_head(flags));
  if (flags.is_on("enable_priority_scheduling") && flags.text("schedule_policy") != "fcfs" &&
      flags.text("schedule_policy") != "lof") {
    return invalid_argument("--enable-priority-scheduling and " + flags.shown("schedule_policy") +
                            ": expected fcfs or lof");
  }
  if (flags.number("schedule_conservativeness") < 0) {
    return invalid_argument(flags.shown("schedule_conservativeness") + ": expected 0 or more");
  }
  FATHOM_RETURN_IF_ERROR(check_observability(flags));
  if (flags.is_on("enable_two_batch_overlap") && flags.text("moe_a2a_backend") == "none") {
    return invalid_argument("--enable-two-batch-overlap and " + flags.shown("moe_a2a_backend") +
                            ": without an expert exchange there is nothing to overlap");
  }
  return {};
}

}  // namespace fathom::config
