#include "api/sampling_fields.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string>
#include <vector>

namespace fathom::api {

namespace {

constexpr double kMaxFloat = std::numeric_limits<float>::max();
constexpr std::int32_t kMaxTokens = std::numeric_limits<std::int32_t>::max();
constexpr std::int32_t kNativeMaxNewTokens = 128;
// Below it a request is greedy.
constexpr double kGreedyTemperature = 1e-6;

constexpr Range kTemperature{0, kMaxFloat, "a number of at least 0"};
constexpr Range kTopP{0, 1, "a number above 0, at most 1", true};
constexpr Range kMinP{0, 1, "a number from 0 to 1"};
constexpr Range kPenalty{-2, 2, "a number from -2 to 2"};
constexpr Range kRepetitionPenalty{0, 2, "a number above 0, at most 2", true};

void read_top_k(FieldReader& fields,
                const SamplingDefaults& defaults,
                const ServiceOptions& options,
                wire::SamplingParams& params) {
  std::int64_t top_k = defaults.top_k;
  if (const auto given = fields.integer("top_k", -1, std::numeric_limits<std::int64_t>::max())) {
    if (*given == 0) fields.refuse_value("top_k", *fields.find("top_k"), "-1 or at least 1");
    top_k = *given;
  }
  const bool all = top_k < 1 || top_k >= options.vocab_size;
  params.top_k = all ? 0 : static_cast<std::int32_t>(top_k);
}

void read_repetition_penalty(FieldReader& fields, const SamplingDefaults& defaults) {
  constexpr std::string_view kName = "repetition_penalty";
  fields.not_built_unless_number(kName, 1, kRepetitionPenalty);
  if (fields.find(kName) != nullptr || defaults.repetition_penalty == 1) return;
  fields.refuse(Refusal::semantic("not built yet: repetition_penalty, which " + defaults.source +
                                  " sets; send 1 to do without"));
}

// Fields that would change the answer and whose feature does not exist yet.
void refuse_missing_features(FieldReader& fields, SamplingDialect dialect) {
  fields.not_built_unless_number("frequency_penalty", 0, kPenalty);
  fields.not_built_unless_number("presence_penalty", 0, kPenalty);
  const bool native = dialect == SamplingDialect::kNative;
  const std::string_view least_name = native ? "min_new_tokens" : "min_tokens";
  const auto least = fields.integer(least_name, 0, kMaxTokens);
  fields.not_built_unless(least_name, least == 0);
  for (const std::string_view name : {"stop", "stop_regex", "logit_bias"}) {
    fields.not_built_unless_empty(name);
  }
  for (const std::string_view name :
       {"regex", "ebnf", "json_schema", "structural_tag", "custom_params"}) {
    fields.not_built(name);
  }
}

}  // namespace

void check_request_fields(FieldReader& fields) {
  for (const std::string_view name : {"custom_logit_processor", "lora_path", "session_params",
                                      "bootstrap_host", "bootstrap_port", "bootstrap_room"}) {
    fields.not_built(name);
  }
  fields.not_built_unless_false("return_hidden_states");
  fields.not_built_unless_false("return_routed_experts");
  for (const std::string_view name :
       {"data_parallel_rank", "routed_dp_rank", "disagg_prefill_dp_rank"}) {
    fields.integer(name, 0, 0);
  }
}

void check_response_format(FieldReader& fields) {
  const Json* format = fields.object("response_format");
  if (format == nullptr) return;
  const Json* type = format->find("type");
  if (type == nullptr || !type->is_string()) {
    fields.refuse(Refusal::shape("response_format.type: is missing, expected a string"));
    return;
  }
  fields.not_built_unless("response_format", *type->as_string() == "text");
}

SamplingFields read_sampling(FieldReader& fields,
                             SamplingDialect dialect,
                             const SamplingDefaults& defaults,
                             const ServiceOptions& options) {
  SamplingFields out;
  const bool native = dialect == SamplingDialect::kNative;
  const double temperature =
      fields.number("temperature", kTemperature).value_or(defaults.temperature);
  out.params.temperature =
      temperature < kGreedyTemperature ? 0.0F : static_cast<float>(temperature);
  const double top_p = fields.number("top_p", kTopP).value_or(defaults.top_p);
  // A positive number that no float32 is near means: the best token alone.
  out.params.top_p = std::max(static_cast<float>(top_p), std::numeric_limits<float>::min());
  out.params.min_p = static_cast<float>(fields.number("min_p", kMinP).value_or(defaults.min_p));
  read_top_k(fields, defaults, options, out.params);
  read_repetition_penalty(fields, defaults);

  const auto most_samples = static_cast<std::int64_t>(options.max_samples);
  out.samples = static_cast<std::uint32_t>(fields.integer("n", 1, most_samples).value_or(1));
  out.seed = fields.seed(native ? "sampling_seed" : "seed");
  out.params.ignore_eos = fields.boolean("ignore_eos", false);
  out.params.stop_token_ids = fields.token_ids("stop_token_ids", options.vocab_size);
  std::vector<wire::TokenId>& stops = out.params.stop_token_ids;
  std::sort(stops.begin(), stops.end());
  stops.erase(std::unique(stops.begin(), stops.end()), stops.end());
  out.skip_special_tokens = fields.boolean("skip_special_tokens", true);
  out.keep_stop_token = fields.boolean("no_stop_trim", false);
  out.stream_interval = options.stream_interval;
  if (native) {
    out.stream_interval = static_cast<std::int32_t>(
        fields.integer("stream_interval", 1, kMaxTokens).value_or(options.stream_interval));
    const auto most = fields.integer("max_new_tokens", 0, kMaxTokens);
    if (!fields.says_null("max_new_tokens")) {
      out.max_new_tokens = static_cast<std::int32_t>(most.value_or(kNativeMaxNewTokens));
    }
  }
  refuse_missing_features(fields, dialect);
  return out;
}

}  // namespace fathom::api
