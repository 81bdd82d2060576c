#include <memory>
#include <utility>

#include "api/chat_fields.h"
#include "api/chat_prompt.h"
#include "api/core.h"
#include "api/openai_fields.h"
#include "api/openai_reply.h"

namespace fathom::api {

std::optional<Refusal> prepare_chat(Core& core, const Json& body, Prepared& out) {
  if (core.tokenizer == nullptr) return no_tokenizer();
  FieldReader fields(body);
  SamplingFields sampling =
      read_sampling(fields, SamplingDialect::kOpenAi, core.options.sampling_defaults, core.options);
  sampling.max_new_tokens = read_max_tokens(fields);
  AnswerFacts facts = read_openai_facts(fields, core, sampling);
  facts.logprobs = fields.boolean("logprobs", false);
  const auto top = fields.integer("top_logprobs", 0, kMaxTopLogprobs);
  check_request_fields(fields);
  check_response_format(fields);
  check_tool_choice(fields);
  const bool thinking = read_thinking(fields, core.options.default_thinking);
  if (fields.refusal()) return fields.refusal();

  std::vector<wire::TokenId> prompt;
  if (auto refusal =
          encode_chat(*core.tokenizer, core.options.chat_template.get(), body, thinking, prompt))
    return refusal;
  const auto logprobs =
      answer_logprobs(facts.logprobs, static_cast<std::int32_t>(top.value_or(0)), prompt.size());
  if (auto refusal = add_prompt(core, out, facts.id, std::move(prompt), sampling, logprobs)) {
    return refusal;
  }
  out.rids = {facts.id};
  out.stream = facts.stream;
  out.reply = std::make_unique<ChatReply>(std::move(facts), *core.tokenizer);
  return std::nullopt;
}

}  // namespace fathom::api
