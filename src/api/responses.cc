#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "api/chat_request.h"
#include "api/core.h"
#include "api/openai_fields.h"
#include "api/responses_fields.h"
#include "api/responses_reply.h"
#include "base/clock.h"

namespace fathom::api {

std::optional<Refusal> prepare_response(Core& core, const Json& body, Prepared& out) {
  if (core.tokenizer == nullptr) return no_tokenizer();
  FieldReader fields(body);
  ChatRequest request;
  request.sampling =
      read_sampling(fields, SamplingDialect::kOpenAi, core.options.sampling_defaults, core.options);
  request.sampling.request = read_request_fields(fields);
  read_response_fields(fields, core.options.default_thinking, request);
  // The id is what /abort_request takes, so a rid is the whole of it.
  request.id = fields.find("rid") == nullptr ? "resp_" + random_id() : read_rid(fields);
  ResponseFacts facts;
  facts.id = request.id;
  facts.created = static_cast<std::int64_t>(unix_time_s());
  facts.stream = fields.boolean("stream", false);
  facts.cache_report = core.options.cache_report;
  facts.logprobs = request.logprobs;
  if (fields.refusal()) return fields.refusal();
  facts.settings = response_settings(fields, request);
  if (fields.refusal()) return fields.refusal();

  std::shared_ptr<const AnswerOptions> options;
  if (auto refusal = prepare_conversation(core, std::move(request), out, options)) return refusal;
  out.rids = {facts.id};
  out.stream = facts.stream;
  out.reply = std::make_unique<ResponsesReply>(std::move(facts), *core.tokenizer, options);
  return std::nullopt;
}

http::Response stored_response(Core& /*core*/, const http::Request& request) {
  constexpr std::string_view kPrefix = "/v1/responses/";
  std::string id = request.path.substr(kPrefix.size());
  id.resize(std::min(id.find('/'), id.size()));
  return error_response(
      Refusal::of(404, "Response with id '" + id +
                           "' not found: this server keeps no responses, whatever store says"),
      ErrorForm::kResponses);
}

}  // namespace fathom::api
