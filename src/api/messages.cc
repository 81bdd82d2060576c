#include <memory>
#include <utility>

#include "api/chat_prompt.h"
#include "api/chat_request.h"
#include "api/core.h"
#include "api/json_writer.h"
#include "api/messages_fields.h"
#include "api/messages_reply.h"
#include "api/openai_fields.h"
#include "api/tool_fields.h"

namespace fathom::api {

namespace {

std::optional<Refusal> count_tokens(const Core& core, const Json& body, std::size_t& tokens) {
  if (core.tokenizer == nullptr) return no_tokenizer();
  FieldReader fields(body);
  ChatRequest request;
  read_messages_conversation(fields, core.options.default_thinking, request);
  if (fields.refusal()) return fields.refusal();
  if (const Status status = check_tools(request.tools); !status.ok()) {
    return Refusal::semantic(status.message());
  }
  EncodedChat encoded;
  auto refusal = encode_chat(*core.tokenizer, core.options.chat_template.get(), request, encoded);
  tokens = encoded.tokens.size();
  return refusal;
}

}  // namespace

std::optional<Refusal> prepare_messages(Core& core, const Json& body, Prepared& out) {
  if (core.tokenizer == nullptr) return no_tokenizer();
  FieldReader fields(body);
  ChatRequest request;
  read_messages_conversation(fields, core.options.default_thinking, request);
  request.sampling = read_messages_sampling(fields, core.options);
  request.sampling.request = read_request_fields(fields);
  MessagesFacts facts;
  facts.id = fields.find("rid") == nullptr ? "msg_" + random_id() : read_rid(fields);
  facts.model = fields.name_text("model", core.options.served_model_name);
  facts.stream = fields.boolean("stream", false);
  facts.cache_report = core.options.cache_report;
  request.id = facts.id;
  if (fields.refusal()) return fields.refusal();

  std::shared_ptr<const AnswerOptions> options;
  if (auto refusal = prepare_conversation(core, std::move(request), out, options)) return refusal;
  out.rids = {facts.id};
  out.stream = facts.stream;
  out.reply = std::make_unique<MessagesReply>(std::move(facts), *core.tokenizer, options);
  return std::nullopt;
}

http::Response count_message_tokens(const Core& core, const Json& body) {
  std::size_t tokens = 0;
  if (auto refusal = count_tokens(core, body, tokens)) {
    return error_response(*refusal, ErrorForm::kAnthropic);
  }
  std::string out;
  JsonWriter(out)
      .begin_object()
      .integer("input_tokens", static_cast<std::int64_t>(tokens))
      .end_object();
  return json_response(std::move(out));
}

}  // namespace fathom::api
