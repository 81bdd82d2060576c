#include "api/refusal.h"

#include <utility>

#include "api/json_writer.h"

namespace fathom::api {

namespace {

int status_of(Code code) {
  switch (code) {
    case Code::kInvalidArgument:
      return 400;
    case Code::kResourceExhausted:
    case Code::kUnavailable:
    case Code::kCancelled:
      return 503;
    case Code::kDeadlineExceeded:
      return 504;
    case Code::kOk:
    case Code::kInternal:
      break;
  }
  return 500;
}

void append_error(std::string& out, const Refusal& refusal) {
  JsonWriter(out)
      .begin_object()
      .string("object", "error")
      .string("message", refusal.message)
      .string("type", refusal.type)
      .null("param")
      .integer("code", refusal.status)
      .end_object();
}

// Anthropic's name for what a status means.
std::string_view anthropic_type(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 503:
      return "overloaded_error";
    case 504:
      return "timeout_error";
    default:
      return status < 500 ? "invalid_request_error" : "api_error";
  }
}

// The error inside the envelope of the Responses API.
void append_responses_error(std::string& out, const Refusal& refusal) {
  constexpr int kServersFault = 500;
  JsonWriter(out)
      .begin_object()
      .string("message", refusal.message)
      .string("type", refusal.status < kServersFault ? "invalid_request_error" : "server_error")
      .null("param")
      .integer("code", refusal.status)
      .end_object();
}

}  // namespace

ErrorForm error_form(std::string_view path) {
  if (path == "/v1/messages" || path.starts_with("/v1/messages/")) return ErrorForm::kAnthropic;
  if (path == "/v1/responses" || path.starts_with("/v1/responses/")) return ErrorForm::kResponses;
  return path.starts_with("/api/") ? ErrorForm::kOllama : ErrorForm::kOpenAi;
}

Refusal Refusal::of(int status, std::string message) {
  if (status == 400) return semantic(std::move(message));
  return {status, status == 500 ? "InternalServerError" : std::to_string(status),
          std::move(message)};
}

Refusal Refusal::of(const Status& status) { return of(status_of(status.code()), status.message()); }

std::string error_body(const Refusal& refusal, ErrorForm form) {
  std::string out;
  JsonWriter writer(out);
  if (form == ErrorForm::kAnthropic) {
    writer.begin_object()
        .string("type", "error")
        .begin_object("error")
        .string("type", anthropic_type(refusal.status))
        .string("message", refusal.message)
        .end_object()
        .end_object();
    return out;
  }
  if (form == ErrorForm::kOllama) {
    writer.begin_object().string("error", refusal.message).end_object();
    return out;
  }
  if (form == ErrorForm::kNative && refusal.type == "BadRequestError") {
    writer.begin_object()
        .begin_object("error")
        .string("message", refusal.message)
        .end_object()
        .end_object();
    return out;
  }
  if (form == ErrorForm::kResponses) {
    out += "{\"error\":";
    append_responses_error(out, refusal);
    out += '}';
    return out;
  }
  append_error(out, refusal);
  return out;
}

std::string error_events(const Refusal& refusal, ErrorForm form) {
  if (form == ErrorForm::kAnthropic) {
    return "event: error\ndata: " + error_body(refusal, form) + "\n\n";
  }
  if (form == ErrorForm::kOllama) return error_body(refusal, form) + '\n';
  std::string out = "data: {\"error\":";
  if (form == ErrorForm::kNative) {
    JsonWriter(out).begin_object().string("message", refusal.message).end_object();
  } else if (form == ErrorForm::kResponses) {
    append_responses_error(out, refusal);
  } else {
    append_error(out, refusal);
  }
  out += "}\n\n";
  out += kDoneEvent;
  return out;
}

http::Response error_response(const Refusal& refusal, ErrorForm form) {
  http::Response response = json_response(error_body(refusal, form));
  response.status = refusal.status;
  if (refusal.status == 503) response.headers.add("Retry-After", "1");
  return response;
}

http::Response json_response(std::string body) {
  http::Response response;
  response.headers.add("Content-Type", "application/json");
  response.body = std::move(body);
  return response;
}

http::Response text_response(int status, std::string body) {
  http::Response response;
  response.status = status;
  response.headers.add("Content-Type", "text/plain; charset=utf-8");
  response.body = std::move(body);
  return response;
}

}  // namespace fathom::api
