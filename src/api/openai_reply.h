#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/answer.h"
#include "api/call.h"
#include "api/sample_state.h"
#include "text/tokenizer.h"

namespace fathom::api {

// What the answers of the OpenAI endpoints say beside their text.
struct AnswerFacts {
  std::string id;
  std::string model;         // as the request calls it
  std::int64_t created = 0;  // unix seconds; the same in every event
  std::string weight_version;
  std::uint32_t prompts = 1;
  std::uint32_t samples = 1;  // of each prompt
  bool stream = false;
  bool include_usage = false;     // a last event tells it
  bool continuous_usage = false;  // every event tells that of its sample
  bool cache_report = false;
  bool logprobs = false;
  bool top_logprobs = false;
};

// What chat and completions have in common. Threads and contract: as Reply.
class OpenAiReply : public Reply {
 public:
  OpenAiReply(AnswerFacts facts,
              const text::Tokenizer& tokenizer,
              const std::shared_ptr<const AnswerOptions>& options,
              std::string_view stream_object);

  bool take(std::uint32_t index, const wire::TokenOutput& output, std::string& events) final;
  std::int32_t answer_tokens(std::uint32_t index) const final {
    return samples_[index].state.generated_tokens();
  }
  void close(std::string& events) final;

 protected:
  struct Sample {
    SampleState state;
    WholeAnswer answer;          // so far, when it is no stream
    std::size_t characters = 0;  // code points told in text_offset
  };

  // The events of what one output added.
  virtual void append_events(std::uint32_t index,
                             const AnswerDelta& delta,
                             std::string& events) = 0;
  virtual bool usage_omits_nulls() const = 0;

  // One chunk with one choice is begin_chunk(), further members of the choice, end_chunk().
  void begin_chunk(std::string& events, std::uint32_t index) const;
  void end_chunk(std::string& events, std::uint32_t index) const;
  // ,"finish_reason":…,"matched_stop":… A stop behind tool calls is "tool_calls", with no match.
  static void append_finish(std::string& out, const SampleState& state);
  // The members that whole answers begin with, up to the opening bracket of "choices", and those
  // after its closing one.
  std::string begin_body(std::string_view object) const;
  void end_body(std::string& body) const;

  const AnswerFacts& facts() const { return facts_; }
  const text::Tokenizer& tokenizer() const { return *tokenizer_; }
  std::vector<Sample>& samples() { return samples_; }

 private:
  Usage usage() const;

  AnswerFacts facts_;
  const text::Tokenizer* tokenizer_;
  std::string head_;   // of every chunk, up to "choices":[
  AnswerDelta delta_;  // kept for its memory
  std::vector<Sample> samples_;
};

}  // namespace fathom::api
