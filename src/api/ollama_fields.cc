#include "api/ollama_fields.h"

#include <limits>
#include <string>
#include <string_view>
#include <utility>

namespace fathom::api {

namespace {

bool is_below(const Json& value, double least) {
  const std::optional<double> number = value.as_double();
  return number && *number < least;
}

// The options under the names of OpenAI's form.
Json options_of(FieldReader& fields) {
  Json out = Json::object();
  const Json* const given = fields.object("options");
  if (given == nullptr) return out;
  for (const std::string_view name :
       {"temperature", "top_p", "min_p", "stop", "presence_penalty", "frequency_penalty"}) {
    if (const Json* const value = given->find_set(name)) out.set(name, *value);
  }
  if (const Json* const value = given->find_set("repeat_penalty")) {
    out.set("repetition_penalty", *value);
  }
  const Json* const top_k = given->find_set("top_k");
  if (top_k != nullptr && !is_below(*top_k, 1)) out.set("top_k", *top_k);
  const Json* const seed = given->find_set("seed");
  if (seed != nullptr && !is_below(*seed, 0)) out.set("seed", *seed);
  return out;
}

// format as OpenAI's response_format; null: text.
Json format_of(FieldReader& fields) {
  constexpr std::string_view kName = "format";
  const Json* const given = fields.find(kName);
  if (given == nullptr) return {};
  Json out = Json::object();
  if (given->is_object()) {
    out.set("type", Json::string("json_schema"));
    out.set("schema", *given);
    return out;
  }
  const std::string* const word = given->as_string();
  if (word != nullptr && word->empty()) return {};
  if (word == nullptr || *word != "json") {
    fields.refuse_value(kName, *given, "\"json\" or a JSON schema");
    return {};
  }
  out.set("type", Json::string("json_object"));
  return out;
}

std::optional<std::int32_t> read_num_predict(FieldReader& fields) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  const Json* const given = fields.object("options");
  if (given == nullptr) return std::nullopt;
  FieldReader inner(*given, "options.");
  const auto most = inner.integer("num_predict", -kMost, kMost);
  if (inner.refusal()) fields.refuse(*inner.refusal());
  if (!most || *most < 0) return std::nullopt;
  return static_cast<std::int32_t>(*most);
}

// The calls of a message with text for arguments.
Status read_calls(const Json& given, Json& out) {
  const Json::Array* const calls = given.as_array();
  if (calls == nullptr) return invalid_argument(wrong_json_kind("an array", given));
  Json::Array read;
  for (const Json& call : *calls) {
    const Json* const function = call.find_set("function");
    if (function == nullptr || !function->is_object()) {
      return invalid_argument("expected objects with the object function");
    }
    Json named = *function;
    const Json* const arguments = function->find_set("arguments");
    if (arguments == nullptr || !arguments->is_string()) {
      named.set("arguments",
                Json::string(arguments == nullptr ? std::string("{}") : to_json(*arguments)));
    }
    Json turned = Json::object();
    if (const Json* const id = call.find_set("id")) turned.set("id", *id);
    turned.set("type", Json::string("function"));
    turned.set("function", std::move(named));
    read.push_back(std::move(turned));
  }
  out = Json::array(std::move(read));
  return {};
}

Status read_message(const Json& given, Json& out) {
  if (!given.is_object()) return invalid_argument(wrong_json_kind("an object", given));
  const Json* const role = given.find_set("role");
  if (role == nullptr || !role->is_string()) {
    return invalid_argument("role: expected system, user, assistant or tool");
  }
  const Json* const images = given.find_set("images");
  if (images != nullptr && truthy(*images)) {
    return invalid_argument("images: this model reads text alone");
  }
  const Json* const content = given.find_set("content");
  if (content != nullptr && !content->is_string()) {
    return invalid_argument("content: " + wrong_json_kind("a string", *content));
  }
  out = Json::object();
  out.set("role", *role);
  out.set("content", content == nullptr ? Json::string("") : *content);
  if (const Json* const thinking = given.find_set("thinking")) {
    out.set("reasoning_content", *thinking);
  }
  const Json* const calls = given.find_set("tool_calls");
  if (calls == nullptr || !truthy(*calls)) return {};
  Json read;
  if (const Status status = read_calls(*calls, read); !status.ok()) return status.in("tool_calls");
  out.set("tool_calls", std::move(read));
  return {};
}

}  // namespace

SamplingFields read_ollama_sampling(FieldReader& fields, const ServiceOptions& options) {
  const std::optional<std::int32_t> most = read_num_predict(fields);
  Json body = options_of(fields);
  body.set("response_format", format_of(fields));
  FieldReader inner(body, "options.");
  SamplingFields out =
      read_sampling(inner, SamplingDialect::kOpenAi, options.sampling_defaults, options);
  if (inner.refusal()) fields.refuse(*inner.refusal());
  out.max_new_tokens = most;
  return out;
}

bool read_think(FieldReader& fields, bool fallback) {
  constexpr std::string_view kName = "think";
  const Json* const given = fields.find(kName);
  if (given == nullptr) return fallback;
  if (const std::optional<bool> wanted = given->as_bool()) return *wanted;
  const std::string* const word = given->as_string();
  if (word == nullptr || (*word != "low" && *word != "medium" && *word != "high")) {
    fields.refuse_value(kName, *given, "true, false, low, medium or high");
  }
  return true;
}

void read_ollama_messages(FieldReader& fields, ChatRequest& out) {
  constexpr std::string_view kName = "messages";
  const Json* const given = fields.find(kName);
  if (given == nullptr) return;
  if (!given->is_array()) {
    fields.refuse_kind(kName, *given, "an array");
    return;
  }
  for (std::size_t i = 0; i < given->as_array()->size() && fields.ok(); ++i) {
    Json message;
    const Status status = read_message((*given->as_array())[i], message);
    if (!status.ok()) {
      fields.refuse(Refusal::semantic(status.in("messages[" + std::to_string(i) + "]").message()));
    }
    out.messages.push_back(std::move(message));
  }
  if (!fields.ok() || out.messages.empty()) return;
  const Json& last = out.messages.back();
  out.continue_final_message =
      *last.find("role")->as_string() == "assistant" && last.find("tool_calls") == nullptr;
}

}  // namespace fathom::api
