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

Refusal Refusal::of(int status, std::string message) {
  if (status == 400) return semantic(std::move(message));
  return {status, status == 500 ? "InternalServerError" : std::to_string(status),
          std::move(message)};
}

Refusal Refusal::of(const Status& status) { return of(status_of(status.code()), status.message()); }

std::string error_body(const Refusal& refusal, ErrorForm form) {
  std::string out;
  if (form == ErrorForm::kNative && refusal.type == "BadRequestError") {
    JsonWriter(out)
        .begin_object()
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

std::string error_event(const Refusal& refusal, ErrorForm form) {
  std::string out = "data: {\"error\":";
  if (form == ErrorForm::kNative) {
    JsonWriter(out).begin_object().string("message", refusal.message).end_object();
  } else if (form == ErrorForm::kResponses) {
    append_responses_error(out, refusal);
  } else {
    append_error(out, refusal);
  }
  out += "}\n\n";
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
