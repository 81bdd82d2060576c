#include "api/sampling_fields.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <utility>

#include "api/constraint_fields.h"
#include "text/stop_matcher.h"

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

void read_penalties(FieldReader& fields,
                    const SamplingDefaults& defaults,
                    wire::SamplingParams& params) {
  const auto penalty = [&fields](std::string_view name, const Range& range, double fallback) {
    return static_cast<float>(fields.number(name, range).value_or(fallback));
  };
  params.frequency_penalty = penalty("frequency_penalty", kPenalty, 0);
  params.presence_penalty = penalty("presence_penalty", kPenalty, 0);
  // A positive number that no float32 is near is still above 0.
  params.repetition_penalty =
      std::max(penalty("repetition_penalty", kRepetitionPenalty, defaults.repetition_penalty),
               std::numeric_limits<float>::min());
}

// The id that a key of logit_bias spells; -1: none of the model's.
wire::TokenId id_of_key(const std::string& key, std::int32_t vocab_size) {
  wire::TokenId id = -1;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
  const bool plain = error == std::errc() && end == key.data() + key.size() && key.front() != '-' &&
                     (key.front() != '0' || key.size() == 1);
  return plain && id < vocab_size ? id : -1;
}

void read_logit_bias(FieldReader& fields,
                     std::int32_t vocab_size,
                     std::vector<wire::TokenBias>& out) {
  constexpr std::string_view kName = "logit_bias";
  constexpr Range kBias{-kMaxFloat, kMaxFloat, "a finite number"};
  const Json* given = fields.object(kName);
  if (given == nullptr) return;
  const Json::Object& members = *given->as_object();
  if (members.size() > kMaxLogitBiases) {
    fields.refuse(Refusal::semantic(fields.path(kName) + ": has " + std::to_string(members.size()) +
                                    " members, expected at most " +
                                    std::to_string(kMaxLogitBiases)));
    return;
  }
  FieldReader inner(*given, fields.path(kName) + ".");
  for (const JsonMember& member : members) {
    const wire::TokenId id = id_of_key(member.key, vocab_size);
    if (id < 0) {
      fields.refuse(Refusal::semantic(fields.path(kName) + ": has the key " +
                                      brief(Json::string(member.key)) +
                                      ", expected token ids of the model: \"0\" to \"" +
                                      std::to_string(vocab_size - 1) + "\""));
      return;
    }
    const double bias = inner.number(member.key, kBias).value_or(0);
    out.push_back({id, static_cast<float>(bias)});
  }
  if (inner.refusal()) fields.refuse(*inner.refusal());
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
}

// A text or a list of texts, none of them empty.
std::vector<std::string> read_texts(FieldReader& fields, std::string_view name, std::size_t most) {
  std::vector<std::string> out;
  const Json* value = fields.find(name);
  if (value == nullptr) return out;
  const Json::Array one{*value};
  const Json::Array& elements = value->is_array() ? *value->as_array() : one;
  if (elements.size() > most) {
    fields.refuse(Refusal::semantic(fields.path(name) + ": has " + std::to_string(elements.size()) +
                                    " elements, expected at most " + std::to_string(most)));
    return out;
  }
  for (const Json& element : elements) {
    const std::string* text = element.as_string();
    if (text == nullptr) {
      fields.refuse_kind(name, element, "a string or an array of strings");
      return {};
    }
    if (text->empty() || text->size() > kMaxStopBytes) {
      fields.refuse_value(name, element,
                          "a string of 1 to " + std::to_string(kMaxStopBytes) + " bytes");
      return {};
    }
    out.push_back(*text);
  }
  return out;
}

void read_stops(FieldReader& fields, SamplingFields& out) {
  std::vector<std::string> strings = read_texts(fields, "stop", kMaxStopStrings);
  out.stop_patterns = read_texts(fields, "stop_regex", kMaxStopPatterns);
  if (strings.empty() && out.stop_patterns.empty()) return;
  auto rules = text::StopRules::create(std::move(strings), out.stop_patterns, out.keep_stop);
  if (rules.ok()) {
    out.stops = std::move(*rules);
  } else {
    fields.refuse(Refusal::semantic(fields.path("stop_regex") + ": " + rules.status().message()));
  }
}

}  // namespace

AnswerOptions SamplingFields::answer_options(const std::string& rid) const {
  AnswerOptions options;
  options.skip_special_tokens = skip_special_tokens;
  options.keep_stop = keep_stop;
  options.stops = stops;
  options.stop_patterns = stop_patterns;
  options.rid = rid;
  if (!stop_patterns.empty()) options.told_given_up = std::make_shared<std::atomic_flag>();
  return options;
}

// Two texts of any characters: the length of the first tells where the second begins.
std::string read_cache_namespace(FieldReader& fields) {
  std::string out;
  for (const std::string_view name : {"cache_salt", "extra_key"}) {
    const std::string text = fields.name_text(name, "");
    if (text.empty()) continue;
    out.append(name).append(" ").append(std::to_string(text.size())).append(" ").append(text);
  }
  return out;
}

std::int32_t read_priority(FieldReader& fields) {
  constexpr std::int64_t kMostPriority = std::numeric_limits<std::int32_t>::max();
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
  return static_cast<std::int32_t>(
      fields.integer("priority", -kMostPriority, kMostPriority).value_or(0));
}

RequestFields read_request_fields(FieldReader& fields) {
  return {read_priority(fields), read_cache_namespace(fields)};
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
  read_penalties(fields, defaults, out.params);
  read_logit_bias(fields, options.vocab_size, out.params.logit_bias);
  out.keep_stop = fields.boolean("no_stop_trim", false);
  read_stops(fields, out);
  out.constraint = read_constraint(fields);
  out.params.min_new_tokens = static_cast<std::int32_t>(
      fields.integer(native ? "min_new_tokens" : "min_tokens", 0, kMaxTokens).value_or(0));

  const auto most_samples = static_cast<std::int64_t>(options.max_samples);
  out.samples = static_cast<std::uint32_t>(fields.integer("n", 1, most_samples).value_or(1));
  out.seed = fields.seed(native ? "sampling_seed" : "seed");
  out.params.ignore_eos = fields.boolean("ignore_eos", false);
  out.params.stop_token_ids = fields.token_ids("stop_token_ids", options.vocab_size);
  std::vector<wire::TokenId>& stops = out.params.stop_token_ids;
  std::sort(stops.begin(), stops.end());
  stops.erase(std::unique(stops.begin(), stops.end()), stops.end());
  out.skip_special_tokens = fields.boolean("skip_special_tokens", true);
  out.stream_interval = options.stream_interval;
  if (native) {
    out.stream_interval = static_cast<std::int32_t>(
        fields.integer("stream_interval", 1, kMaxTokens).value_or(options.stream_interval));
    const auto most = fields.integer("max_new_tokens", 0, kMaxTokens);
    if (!fields.says_null("max_new_tokens")) {
      out.max_new_tokens = static_cast<std::int32_t>(most.value_or(kNativeMaxNewTokens));
    }
  }
  fields.not_built_unless_empty("custom_params");
  return out;
}

}  // namespace fathom::api
