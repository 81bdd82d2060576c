#include "api/batch_line.h"

#include <algorithm>
#include <array>
#include <utility>

#include "api/json_writer.h"
#include "base/json.h"

namespace fathom::api {

namespace {

constexpr std::array<std::string_view, 5> kBatchUrls = {
    "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/generate"};

// The member as a text that is not empty.
Result<std::string> required_text(const Json& line, std::string_view name) {
  const Json* const member = line.find_set(name);
  if (member == nullptr) return invalid_argument(std::string(name) + ": is missing");
  if (!member->is_string()) {
    return invalid_argument(std::string(name) + ": " + wrong_json_kind("a string", *member));
  }
  if (member->as_string()->empty()) return invalid_argument(std::string(name) + ": is empty");
  return *member->as_string();
}

std::int64_t completion_tokens(const Json& body) {
  const Json* const usage = body.find_set("usage");
  const Json* const tokens = usage == nullptr ? nullptr : usage->find_set("completion_tokens");
  return tokens == nullptr ? 0 : std::max<std::int64_t>(0, tokens->as_int64().value_or(0));
}

}  // namespace

std::string batch_urls() {
  std::string names;
  for (const std::string_view url : kBatchUrls) {
    if (!names.empty()) names += ", ";
    names += url;
  }
  return names;
}

bool is_batch_url(std::string_view url) {
  return std::find(kBatchUrls.begin(), kBatchUrls.end(), url) != kBatchUrls.end();
}

Result<BatchLine> parse_batch_line(std::string_view text, std::string& custom_id) {
  custom_id.clear();
  Result<Json> line = parse_json(text);
  FATHOM_RETURN_IF_ERROR(line.status());
  if (!line->is_object()) return invalid_argument(wrong_json_kind("an object", *line));
  Result<std::string> id = required_text(*line, "custom_id");
  FATHOM_RETURN_IF_ERROR(id.status());
  custom_id = *id;
  BatchLine out;
  out.custom_id = std::move(*id);
  if (const Json* const method = line->find_set("method");
      method != nullptr && (!method->is_string() || *method->as_string() != "POST")) {
    return invalid_argument("method: was " + to_json(*method) + ", expected \"POST\"");
  }
  Result<std::string> url = required_text(*line, "url");
  FATHOM_RETURN_IF_ERROR(url.status());
  out.url = std::move(*url);
  if (!is_batch_url(out.url)) {
    return invalid_argument("url: was '" + out.url + "', expected one of " + batch_urls());
  }
  const Json* const body = line->find_set("body");
  if (body == nullptr) return invalid_argument("body: is missing");
  if (!body->is_object()) {
    return invalid_argument("body: " + wrong_json_kind("an object", *body));
  }
  if (const Json* const stream = body->find_set("stream");
      stream != nullptr && stream->as_bool() != false) {
    return invalid_argument("body.stream: was " + to_json(*stream) +
                            ", expected false: a line gets one whole answer");
  }
  out.body = to_json(*body);
  return out;
}

std::string batch_answer_line(std::string_view id,
                              std::string_view custom_id,
                              int status,
                              std::string_view request_id,
                              std::string_view body) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object().string("id", id).string("custom_id", custom_id);
  writer.begin_object("response").integer("status_code", status);
  writer.string("request_id", request_id);
  // Written anew: a body may hold ends of lines.
  if (const Result<Json> json = parse_json(body); json.ok()) {
    writer.raw("body", to_json(*json));
  } else {
    writer.string("body", body);
  }
  writer.end_object().null("error").end_object();
  return out;
}

std::string batch_error_line(std::string_view id,
                             const std::string& custom_id,
                             std::int64_t line,
                             std::string_view code,
                             std::string_view message) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object().string("id", id);
  if (custom_id.empty()) {
    writer.null("custom_id");
  } else {
    writer.string("custom_id", custom_id);
  }
  writer.null("response").begin_object("error");
  writer.string("code", code).string("message", message).integer("line", line);
  writer.end_object().end_object();
  return out;
}

Result<BatchResult> parse_batch_result(std::string_view text) {
  const Result<Json> line = parse_json(text);
  FATHOM_RETURN_IF_ERROR(line.status());
  BatchResult out;
  const Json* const id = line->find_set("custom_id");
  const Json* const response = line->find_set("response");
  const Json* const error = line->find_set("error");
  if (id != nullptr && id->is_string()) out.custom_id = *id->as_string();
  const Json* const number = error == nullptr ? nullptr : error->find_set("line");
  if (number != nullptr) out.line = number->as_int64().value_or(0);
  if ((response == nullptr && error == nullptr) || (out.custom_id.empty() && out.line <= 0)) {
    return invalid_argument("is no result: expected custom_id and response, or error");
  }
  if (response == nullptr) return out;
  const Json* const status = response->find_set("status_code");
  out.succeeded = status != nullptr && status->as_int64() == 200;
  if (const Json* const body = response->find_set("body")) {
    out.completion_tokens = completion_tokens(*body);
  }
  return out;
}

}  // namespace fathom::api
