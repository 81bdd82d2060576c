#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "api/answer.h"
#include "api/json_writer.h"
#include "text/answer_parser.h"
#include "text/stop_matcher.h"
#include "text/stream_decoder.h"
#include "text/tokenizer.h"
#include "wire/messages.h"

namespace fathom::api {

// What ended an answer with Finish::kStop: a token, or the text or pattern of the request.
using MatchedStop = std::variant<std::monostate, wire::TokenId, std::string>;

// One sample of an answer as its tokens come: what they say, and what usage and the ending need.
// Where the answer ends is decided here: the engine may be tokens further when a stop text is
// found. How outputs are cut changes how events are cut, never what they say together.
//
// Threads: one at a time.
class SampleState {
 public:
  // `tokenizer` outlives the state; null: there is no text, and nothing but tokens ends the answer.
  SampleState(const text::Tokenizer* tokenizer, std::shared_ptr<const AnswerOptions> options);

  // Fills `delta` with what the output adds. Its spans are good as long as `output`. Requires
  // !finished().
  void take(const wire::TokenOutput& output, AnswerDelta& delta);

  bool started() const { return started_; }  // take() was called
  bool finished() const { return finish_ != wire::Finish::kNone; }
  wire::Finish finish() const { return finish_; }
  const MatchedStop& matched() const { return matched_; }  // with Finish::kStop
  const Status& error() const { return error_; }           // with Finish::kAbort
  bool has_calls() const { return has_calls_; }            // some were told
  std::int32_t prompt_tokens() const { return prompt_tokens_; }
  std::int32_t generated_tokens() const { return generated_tokens_; }  // of the answer
  std::int32_t reasoning_tokens() const {
    return reasoning_tokens_;
  }  // of them, to the end of thoughts
  std::int32_t cached_tokens() const { return cached_tokens_; }
  const wire::DraftCounts& drafts() const { return drafts_; }
  std::int32_t retractions() const { return retractions_; }

 private:
  void push_token(wire::TokenId id, AnswerDelta& delta);
  void push_text(AnswerDelta& delta);
  void tell(AnswerDelta& delta);
  void tell_pieces(AnswerDelta& delta);
  void finish_text(AnswerDelta& delta);
  void finish_parser(AnswerDelta& delta);
  void tell_given_up() const;
  void stop(const text::StopMatch& match, AnswerDelta& delta);

  std::shared_ptr<const AnswerOptions> options_;
  std::optional<text::StreamDecoder> decoder_;  // none: no text
  std::optional<text::StopMatcher> stops_;      // none: nothing to look for
  std::optional<text::AnswerParser> parser_;    // none: all is content
  std::string decoded_;                         // kept for their memory
  std::string shown_;
  std::vector<text::AnswerPiece> pieces_;

  bool has_calls_ = false;
  bool started_ = false;
  wire::Finish finish_ = wire::Finish::kNone;
  MatchedStop matched_;
  Status error_;
  std::int32_t prompt_tokens_ = 0;
  std::int32_t generated_tokens_ = 0;
  std::int32_t reasoning_tokens_ = 0;
  std::int32_t cached_tokens_ = 0;
  wire::DraftCounts drafts_;
  std::int32_t retractions_ = 0;
};

// "stop", "length", "abort". Requires finish != kNone.
std::string_view finish_name(wire::Finish finish);

// A token id, a text, or null.
void append_matched(JsonWriter& writer, const MatchedStop& matched);

// Tokens as usage counts them: each prompt once, the answers of all samples together.
struct Usage {
  std::int64_t prompt_tokens = 0;
  std::int64_t completion_tokens = 0;
  std::int64_t cached_tokens = 0;
  std::int64_t reasoning_tokens = 0;

  // Adds the tokens of a sample; `prompt`: those of its prompt, too.
  void add(const SampleState& state, bool prompt);
};

// `cache_report`: tell the cached tokens when there are any. `omit_nulls`: leave members out
// instead of writing null.
void append_usage(std::string& out, const Usage& usage, bool cache_report, bool omit_nulls = false);

}  // namespace fathom::api
