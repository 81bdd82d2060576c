#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

// The lines of batch files, in OpenAI's forms: what is asked, one JSON object a line, and what was
// answered.
namespace fathom::api {

// {"custom_id":…,"method":"POST","url":"/v1/chat/completions","body":{…}}
struct BatchLine {
  std::string custom_id;
  std::string url;   // one of kBatchUrls
  std::string body;  // a JSON object that asks for no stream
};

// "/v1/chat/completions, /v1/completions …": what a line may be sent to, for messages.
std::string batch_urls();
bool is_batch_url(std::string_view url);

// kInvalidArgument: what is wrong with the line. `custom_id` gets the line's, as far as there is
// one, so that the error can be told with it.
Result<BatchLine> parse_batch_line(std::string_view text, std::string& custom_id);

// What a server said to one line, in one line without its end. A body that is not JSON becomes a
// string. `id` is this answer's name, `request_id` the server's for it.
std::string batch_answer_line(std::string_view id,
                              std::string_view custom_id,
                              int status,
                              std::string_view request_id,
                              std::string_view body);

// A line that got no answer. `line` is its number from 1; without a custom_id it is the only name.
std::string batch_error_line(std::string_view id,
                             const std::string& custom_id,
                             std::int64_t line,
                             std::string_view code,
                             std::string_view message);

// What a line of results says about which line it answers.
struct BatchResult {
  std::string custom_id;   // empty: the line had none …
  std::int64_t line = 0;   // … and this number, from 1
  bool succeeded = false;  // an answer with status 200
  std::int64_t completion_tokens = 0;
};
// kInvalidArgument when it is no such line.
Result<BatchResult> parse_batch_result(std::string_view text);

}  // namespace fathom::api
