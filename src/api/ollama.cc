#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "api/chat_request.h"
#include "api/core.h"
#include "api/json_writer.h"
#include "api/ollama_fields.h"
#include "api/ollama_reply.h"
#include "api/openai_fields.h"
#include "base/clock.h"

namespace fathom::api {

namespace {

Json message_of(std::string_view role, std::string content) {
  Json message = Json::object();
  message.set("role", Json::string(std::string(role)));
  message.set("content", Json::string(std::move(content)));
  return message;
}

OllamaFacts read_facts(FieldReader& fields, const ServiceOptions& options, bool chat) {
  OllamaFacts facts;
  facts.model = fields.name_text("model", options.served_model_name);
  facts.chat = chat;
  facts.stream = fields.boolean("stream", true);
  facts.begun_ns = now_ns();
  return facts;
}

// A client that asks for nothing wants to know whether the model is there. The engine says so by
// reading an empty question.
void ask_for_nothing(ChatRequest& request, OllamaFacts& facts) {
  facts.load = true;
  request.messages = {message_of("user", "")};
  request.sampling.max_new_tokens = 0;
  request.sampling.params.min_new_tokens = 0;
}

void finish(Core& core,
            OllamaFacts facts,
            const std::string& rid,
            const std::shared_ptr<const AnswerOptions>& options,
            Prepared& out) {
  out.rids = {rid};
  out.stream = facts.stream;
  // Its durations are those of the tokens, so it has to see them come.
  for (wire::GenerateRequest& request : out.requests) request.stream = true;
  out.reply = std::make_unique<OllamaReply>(std::move(facts), *core.tokenizer, options);
}

// Of /api/generate: the text as it is, without a conversation around it.
std::optional<Refusal> prepare_raw(Core& core,
                                   const std::string& rid,
                                   const std::string& prompt,
                                   const SamplingFields& sampling,
                                   Prepared& out,
                                   std::shared_ptr<const AnswerOptions>& options) {
  options = std::make_shared<const AnswerOptions>(sampling.answer_options(rid));
  std::vector<wire::TokenId> tokens = core.tokenizer->encode(prompt);
  const auto logprobs = answer_logprobs(false, 0, tokens.size());
  return add_prompt(core, out, rid, std::move(tokens), sampling, logprobs, options->ends_by_text());
}

void append_details(JsonWriter& writer, const ServiceOptions& options) {
  writer.begin_object("details")
      .string("parent_model", "")
      .string("format", "safetensors")
      .string("family", options.model_type)
      .begin_array("families")
      .string(options.model_type)
      .end_array()
      .string("parameter_size", "")
      .string("quantization_level", "")
      .end_object();
}

}  // namespace

std::optional<Refusal> prepare_ollama_chat(Core& core, const Json& body, Prepared& out) {
  if (core.tokenizer == nullptr) return no_tokenizer();
  FieldReader fields(body);
  ChatRequest request;
  request.id = read_rid(fields);
  request.sampling = read_ollama_sampling(fields, core.options);
  request.sampling.request = read_request_fields(fields);
  request.thinking = read_think(fields, core.options.default_thinking);
  read_ollama_messages(fields, request);
  OllamaFacts facts = read_facts(fields, core.options, true);
  if (const Json* const tools = fields.find("tools")) {
    if (!tools->is_array()) {
      fields.refuse_kind("tools", *tools, "an array");
    } else {
      request.tools = *tools->as_array();
    }
  }
  if (fields.refusal()) return fields.refusal();
  if (request.messages.empty()) ask_for_nothing(request, facts);

  const std::string rid = request.id;
  std::shared_ptr<const AnswerOptions> options;
  if (auto refusal = prepare_conversation(core, std::move(request), out, options)) return refusal;
  finish(core, std::move(facts), rid, options, out);
  return std::nullopt;
}

std::optional<Refusal> prepare_ollama_generate(Core& core, const Json& body, Prepared& out) {
  if (core.tokenizer == nullptr) return no_tokenizer();
  FieldReader fields(body);
  ChatRequest request;
  request.id = read_rid(fields);
  request.sampling = read_ollama_sampling(fields, core.options);
  request.sampling.request = read_request_fields(fields);
  request.thinking = read_think(fields, core.options.default_thinking);
  OllamaFacts facts = read_facts(fields, core.options, false);
  const std::string prompt = fields.text("prompt", "");
  const std::string system = fields.text("system", "");
  const bool raw = fields.boolean("raw", false);
  for (const std::string_view name : {"suffix", "template"}) {
    if (!fields.text(name, "").empty()) {
      fields.refuse(Refusal::semantic(std::string(name) + ": not built; send none"));
    }
  }
  const Json* const images = fields.find("images");
  if (images != nullptr && truthy(*images)) {
    fields.refuse(Refusal::semantic("images: this model reads text alone"));
  }
  if (fields.refusal()) return fields.refusal();

  const std::string rid = request.id;
  std::shared_ptr<const AnswerOptions> options;
  std::optional<Refusal> refusal;
  if (raw && !prompt.empty()) {
    refusal = prepare_raw(core, rid, prompt, request.sampling, out, options);
  } else {
    if (!system.empty()) request.messages.push_back(message_of("system", system));
    request.messages.push_back(message_of("user", prompt));
    if (prompt.empty()) ask_for_nothing(request, facts);
    refusal = prepare_conversation(core, std::move(request), out, options);
  }
  if (refusal) return refusal;
  finish(core, std::move(facts), rid, options, out);
  return std::nullopt;
}

http::Response ollama_tags(Core& core, const http::Request& /*request*/) {
  const ServiceOptions& options = core.options;
  std::string out;
  JsonWriter writer(out);
  writer.begin_object()
      .begin_array("models")
      .begin_object()
      .string("name", options.served_model_name)
      .string("model", options.served_model_name)
      .string("modified_at", rfc3339_now())
      .integer("size", static_cast<std::int64_t>(options.weight_gigabytes * 1e9))
      .string("digest", "");
  append_details(writer, options);
  writer.end_object().end_array().end_object();
  return json_response(std::move(out));
}

http::Response ollama_show(const Core& core, const Json& body) {
  const ServiceOptions& options = core.options;
  FieldReader fields(body);
  const std::string name = fields.text("model", fields.text("name", options.served_model_name));
  if (fields.refusal()) return error_response(*fields.refusal(), ErrorForm::kOllama);
  if (name != options.served_model_name && name != options.served_model_name + ":latest") {
    return error_response(Refusal::of(404, "model '" + name + "' not found"), ErrorForm::kOllama);
  }
  std::string out;
  JsonWriter writer(out);
  writer.begin_object()
      .string("license", "")
      .string("modelfile", "")
      .string("parameters", "")
      .string("template", "")
      .string("modified_at", rfc3339_now());
  append_details(writer, options);
  writer.begin_object("model_info")
      .string("general.architecture", options.model_type)
      .string("general.basename", options.served_model_name)
      .text_key(options.model_type + ".context_length")
      .integer(options.context_tokens)
      .text_key(options.model_type + ".vocab_size")
      .integer(options.vocab_size)
      .end_object()
      .begin_array("capabilities")
      .string("completion");
  if (options.tool_calls != text::ToolCallFormat::kNone) writer.string("tools");
  if (options.reasoning != text::ReasoningFormat::kNone) writer.string("thinking");
  writer.end_array().end_object();
  return json_response(std::move(out));
}

http::Response ollama_version(Core& core, const http::Request& /*request*/) {
  std::string out;
  JsonWriter(out).begin_object().string("version", core.options.version).end_object();
  return json_response(std::move(out));
}

http::Response ollama_root(Core& /*core*/, const http::Request& /*request*/) {
  return text_response(200, "Ollama is running");
}

}  // namespace fathom::api
