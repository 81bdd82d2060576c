#include <limits>
#include <utility>

#include "api/core.h"
#include "api/json_writer.h"
#include "api/request_fields.h"

namespace fathom::api {

namespace {

void append_ids(JsonWriter& writer, const std::vector<wire::TokenId>& ids) {
  writer.begin_array();
  for (const wire::TokenId id : ids) writer.integer(id);
  writer.end_array();
}

// Ids that need not be the model's: those without a token have no text.
std::optional<Refusal> read_any_ids(const Json& value,
                                    const std::string& name,
                                    std::vector<wire::TokenId>& out) {
  return read_token_ids(value, name, std::numeric_limits<std::int32_t>::max(), out);
}

}  // namespace

http::Response tokenize(const Core& core, const Json& body) {
  if (core.tokenizer == nullptr) return error_response(no_tokenizer());
  FieldReader fields(body);
  const text::EncodeOptions options{.add_special_tokens =
                                        fields.boolean("add_special_tokens", true)};
  if (fields.refusal()) return error_response(*fields.refusal());
  const Json* prompt = fields.find("prompt");
  if (prompt == nullptr) return error_response(Refusal::shape("prompt: is missing"));

  std::vector<std::vector<wire::TokenId>> lists;
  if (const std::string* text = prompt->as_string()) {
    lists.push_back(core.tokenizer->encode(*text, options));
  } else if (const Json::Array* texts = prompt->as_array()) {
    for (const Json& element : *texts) {
      const std::string* one = element.as_string();
      if (one == nullptr) {
        return error_response(
            Refusal::shape("prompt: " + wrong_json_kind("an array of strings", element)));
      }
      lists.push_back(core.tokenizer->encode(*one, options));
    }
  } else {
    return error_response(
        Refusal::shape("prompt: " + wrong_json_kind("a string or an array of strings", *prompt)));
  }

  std::string out;
  JsonWriter writer(out);
  writer.begin_object().key("tokens");
  if (prompt->is_string()) {
    append_ids(writer, lists.front());
    writer.integer("count", static_cast<std::int64_t>(lists.front().size()));
  } else {
    writer.begin_array();
    for (const auto& ids : lists) append_ids(writer, ids);
    writer.end_array().begin_array("count");
    for (const auto& ids : lists) writer.integer(static_cast<std::int64_t>(ids.size()));
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
    std::vector<wire::TokenId> ids;
    if (auto refusal = read_any_ids(*tokens, "tokens", ids)) return error_response(*refusal);
    writer.string(core.tokenizer->decode(ids, skip_special_tokens));
  } else {
    writer.begin_array();
    for (std::size_t i = 0; i < elements->size(); ++i) {
      std::vector<wire::TokenId> ids;
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
