#include <memory>
#include <utility>

#include "api/chat_fields.h"
#include "api/chat_reply.h"
#include "api/chat_request.h"
#include "api/core.h"
#include "api/openai_fields.h"

namespace fathom::api {

std::optional<Refusal> prepare_chat(Core& core, const Json& body, Prepared& out) {
  if (core.tokenizer == nullptr) return no_tokenizer();
  FieldReader fields(body);
  ChatRequest request;
  request.sampling =
      read_sampling(fields, SamplingDialect::kOpenAi, core.options.sampling_defaults, core.options);
  request.sampling.max_new_tokens = read_max_tokens(fields);
  request.sampling.request = read_request_fields(fields);
  read_conversation(fields, core.options.default_thinking, request);
  AnswerFacts facts = read_openai_facts(fields, core, request.sampling.samples);
  facts.logprobs = fields.boolean("logprobs", false);
  request.logprobs = facts.logprobs;
  request.top_logprobs = static_cast<std::int32_t>(
      fields.integer("top_logprobs", 0, wire::kMaxTopLogprobs).value_or(0));
  request.id = facts.id;
  if (fields.refusal()) return fields.refusal();

  std::shared_ptr<const AnswerOptions> options;
  if (auto refusal = prepare_conversation(core, std::move(request), out, options)) return refusal;
  out.rids = {facts.id};
  out.stream = facts.stream;
  out.reply = std::make_unique<ChatReply>(std::move(facts), *core.tokenizer, options);
  return std::nullopt;
}

}  // namespace fathom::api
