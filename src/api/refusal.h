#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "http/message.h"

namespace fathom::api {

// Why a request gets no answer, as the client is told.
struct Refusal {
  int status = 400;
  std::string type = "BadRequestError";
  std::string message;

  // The body is not JSON, or a member of it is not of its type.
  static Refusal shape(std::string message) { return {400, "Bad Request", std::move(message)}; }
  // The body is understood, and what it asks for cannot be.
  static Refusal semantic(std::string message) {
    return {400, "BadRequestError", std::move(message)};
  }
  // The type that belongs to the status.
  static Refusal of(int status, std::string message);
  // Requires !status.ok().
  static Refusal of(const Status& status);
};

// The forms in which errors are told; which one is a matter of the endpoint. The first two are
// SGLang's.
enum class ErrorForm : unsigned char {
  kOpenAi,     // {"object":"error","message","type","param":null,"code"}
  kNative,     // of /generate: {"error":{"message"}} for a request that cannot be, else as above
  kAnthropic,  // {"type":"error","error":{"type","message"}}, the type by the status
  kOllama,     // {"error":"message"}
  kResponses,  // {"error":{"message","type","param":null,"code"}}, the type by the status
};

// The form of what is refused before an endpoint is asked.
ErrorForm error_form(std::string_view path);

std::string error_body(const Refusal& refusal, ErrorForm form = ErrorForm::kOpenAi);
// What ends every stream of OpenAI's form.
inline constexpr std::string_view kDoneEvent = "data: [DONE]\n\n";

// What ends a stream that has failed: the event that says so, and what the form has behind it.
std::string error_events(const Refusal& refusal, ErrorForm form);
// With Retry-After where trying again may help.
http::Response error_response(const Refusal& refusal, ErrorForm form = ErrorForm::kOpenAi);

http::Response json_response(std::string body);
http::Response text_response(int status, std::string body);

}  // namespace fathom::api
