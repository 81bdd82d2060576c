#include "api/openai_fields.h"

#include <utility>

#include "base/clock.h"

namespace fathom::api {

std::string read_rid(FieldReader& fields) {
  constexpr std::string_view kName = "rid";
  const Json* value = fields.find(kName);
  if (value != nullptr && value->is_array() && value->as_array()->size() == 1) {
    value = &value->as_array()->front();
  }
  if (value == nullptr) return random_id();
  const std::string* rid = value->as_string();
  if (rid == nullptr) {
    fields.refuse_kind(kName, *value, "a string");
    return {};
  }
  if (auto refusal = check_name(kName, *rid)) {
    fields.refuse(std::move(*refusal));
    return {};
  }
  return rid->empty() ? random_id() : *rid;
}

AnswerFacts read_openai_facts(FieldReader& fields, const Core& core, std::uint32_t samples) {
  AnswerFacts facts;
  facts.id = read_rid(fields);
  facts.model = fields.name_text("model", "default");
  facts.created = static_cast<std::int64_t>(unix_time_s());
  facts.weight_version = core.options.weight_version;
  facts.samples = samples;
  facts.stream = fields.boolean("stream", false);
  facts.cache_report = core.options.cache_report;
  if (const Json* options = fields.object("stream_options"); options != nullptr && facts.stream) {
    FieldReader inner(*options, "stream_options.");
    facts.include_usage = inner.boolean("include_usage", false);
    facts.continuous_usage = inner.boolean("continuous_usage_stats", false);
    if (inner.refusal()) fields.refuse(*inner.refusal());
  }
  return facts;
}

wire::LogprobParams answer_logprobs(bool wanted, std::int32_t top, std::size_t prompt_tokens) {
  wire::LogprobParams params;
  params.wanted = wanted;
  params.prompt_start = static_cast<std::int32_t>(prompt_tokens);
  params.top = wanted ? top : 0;
  return params;
}

}  // namespace fathom::api
