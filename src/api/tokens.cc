#include <limits>
#include <utility>

#include "api/chat_fields.h"
#include "api/chat_prompt.h"
#include "api/core.h"
#include "api/json_writer.h"
#include "api/request_fields.h"
#include "api/tool_fields.h"

namespace fathom::api {

namespace {

using Ids = std::vector<wire::TokenId>;

void append_ids(JsonWriter& writer, const Ids& ids) {
  writer.begin_array();
  for (const wire::TokenId id : ids) writer.integer(id);
  writer.end_array();
}

// Ids that need not be the model's: those without a token have no text.
std::optional<Refusal> read_any_ids(const Json& value, const std::string& name, Ids& out) {
  return read_token_ids(value, name, std::numeric_limits<std::int32_t>::max(), out);
}

std::optional<Refusal> tokenize_texts(const text::Tokenizer& tokenizer,
                                      const Json& prompt,
                                      const text::EncodeOptions& options,
                                      std::vector<Ids>& out) {
  if (const std::string* text = prompt.as_string()) {
    out.push_back(tokenizer.encode(*text, options));
    return std::nullopt;
  }
  const Json::Array* texts = prompt.as_array();
  if (texts == nullptr) {
    return Refusal::shape("prompt: " + wrong_json_kind("a string or an array of strings", prompt));
  }
  for (const Json& element : *texts) {
    const std::string* text = element.as_string();
    if (text == nullptr) {
      return Refusal::shape("prompt: " + wrong_json_kind("an array of strings", element));
    }
    out.push_back(tokenizer.encode(*text, options));
  }
  return std::nullopt;
}

// The lists of a request, one when it is no batch.
std::optional<Refusal> tokenize_body(const Core& core, const Json& body, std::vector<Ids>& out) {
  FieldReader fields(body);
  const text::EncodeOptions options{.add_special_tokens =
                                        fields.boolean("add_special_tokens", true)};
  if (fields.refusal()) return fields.refusal();
  if (const Json* prompt = fields.find("prompt")) {
    return tokenize_texts(*core.tokenizer, *prompt, options, out);
  }
  if (fields.find("messages") == nullptr) return Refusal::shape("prompt: is missing");
  ChatRequest request;
  read_conversation(fields, core.options.default_thinking, request);
  if (fields.refusal()) return fields.refusal();
  if (const Status status = check_tools(request.tools); !status.ok()) {
    return Refusal::semantic(status.message());
  }
  EncodedChat encoded;
  auto refusal = encode_chat(*core.tokenizer, core.options.chat_template.get(), request, encoded);
  out.push_back(std::move(encoded.tokens));
  return refusal;
}

}  // namespace

http::Response tokenize(const Core& core, const Json& body) {
  if (core.tokenizer == nullptr) return error_response(no_tokenizer());
  std::vector<Ids> lists;
  if (auto refusal = tokenize_body(core, body, lists)) return error_response(*refusal);

  const Json* prompt = body.find_set("prompt");
  const bool batch = prompt != nullptr && prompt->is_array();
  std::string out;
  JsonWriter writer(out);
  writer.begin_object().key("tokens");
  if (!batch) {
    append_ids(writer, lists.front());
    writer.integer("count", static_cast<std::int64_t>(lists.front().size()));
  } else {
    writer.begin_array();
    for (const Ids& ids : lists) append_ids(writer, ids);
    writer.end_array().begin_array("count");
    for (const Ids& ids : lists) writer.integer(static_cast<std::int64_t>(ids.size()));
    writer.end_array();
  }
  writer.integer("max_model_len", core.options.context_tokens).end_object();
  return json_response(std::move(out));
}

http::Response detokenize(const Core& core, const Json& body) {
  if (core.tokenizer == nullptr) return error_response(no_tokenizer());
  FieldReader fields(body);
  const bool skip_special_tokens = fields.boolean("skip_special_tokens", true);
  if (fields.refusal()) return error_response(*fields.refusal());
  const Json* tokens = fields.find("tokens");
  if (tokens == nullptr) return error_response(Refusal::shape("tokens: is missing"));

  const Json::Array* elements = tokens->as_array();
  const bool nested = elements != nullptr && !elements->empty() && elements->front().is_array();
  std::string out;
  JsonWriter writer(out);
  writer.begin_object().key("text");
  if (!nested) {
    Ids ids;
    if (auto refusal = read_any_ids(*tokens, "tokens", ids)) return error_response(*refusal);
    writer.string(core.tokenizer->decode(ids, skip_special_tokens));
  } else {
    writer.begin_array();
    for (std::size_t i = 0; i < elements->size(); ++i) {
      Ids ids;
      const std::string name = "tokens[" + std::to_string(i) + "]";
      if (auto refusal = read_any_ids((*elements)[i], name, ids)) return error_response(*refusal);
      writer.string(core.tokenizer->decode(ids, skip_special_tokens));
    }
    writer.end_array();
  }
  writer.end_object();
  return json_response(std::move(out));
}

}  // namespace fathom::api
