#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "text/stream_decoder.h"
#include "text/tokenizer.h"
#include "wire/messages.h"

namespace fathom::api {

// One sample of an answer as its tokens come: their text, and what usage and the ending need.
//
// Threads: one at a time.
class SampleState {
 public:
  // `tokenizer` outlives the state; null: there is no text. `keep_stop_token`: the token that ends
  // the answer has text like any other.
  SampleState(const text::Tokenizer* tokenizer, bool skip_special_tokens, bool keep_stop_token);

  // Appends the text that the output's tokens complete.
  void take(const wire::TokenOutput& output, std::string& text);

  bool started() const { return started_; }  // take() was called
  bool finished() const { return finish_ != wire::Finish::kNone; }
  wire::Finish finish() const { return finish_; }
  wire::TokenId stop_token() const { return stop_token_; }  // with Finish::kStop
  const Status& error() const { return error_; }            // with Finish::kAbort
  std::int32_t prompt_tokens() const { return prompt_tokens_; }
  std::int32_t generated_tokens() const { return generated_tokens_; }
  std::int32_t cached_tokens() const { return cached_tokens_; }
  std::int32_t retractions() const { return retractions_; }

 private:
  std::optional<text::StreamDecoder> decoder_;
  bool keep_stop_token_;
  bool started_ = false;
  wire::Finish finish_ = wire::Finish::kNone;
  wire::TokenId stop_token_ = -1;
  Status error_;
  std::int32_t prompt_tokens_ = 0;
  std::int32_t generated_tokens_ = 0;
  std::int32_t cached_tokens_ = 0;
  std::int32_t retractions_ = 0;
};

// "stop", "length", "abort". Requires finish != kNone.
std::string_view finish_name(wire::Finish finish);

// Tokens as usage counts them: each prompt once, the answers of all samples together.
struct Usage {
  std::int64_t prompt_tokens = 0;
  std::int64_t completion_tokens = 0;
  std::int64_t cached_tokens = 0;
};

// `cache_report`: tell the cached tokens when there are any. `omit_nulls`: leave members out
// instead of writing null.
void append_usage(std::string& out, const Usage& usage, bool cache_report, bool omit_nulls = false);

}  // namespace fathom::api
