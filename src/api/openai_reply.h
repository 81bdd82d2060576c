#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "api/call.h"
#include "api/logprob_text.h"
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
  bool skip_special_tokens = true;
  bool keep_stop_token = false;
};

// What chat and completions have in common. Threads and contract: as Reply.
class OpenAiReply : public Reply {
 public:
  OpenAiReply(AnswerFacts facts, const text::Tokenizer& tokenizer, std::string_view stream_object);

  void take(std::uint32_t index, const wire::TokenOutput& output, std::string& events) final;
  void close(std::string& events) final;

 protected:
  struct Sample {
    SampleState state;
    std::string text;            // so far, of an answer that is no stream
    PositionLogprobs logprobs;   // likewise
    std::size_t characters = 0;  // code points told in text_offset
  };

  // The events of one output whose text is `delta`. `first`: of its sample.
  virtual void append_events(std::uint32_t index,
                             bool first,
                             const std::string& delta,
                             const wire::TokenOutput& output,
                             std::string& events) = 0;
  virtual bool usage_omits_nulls() const = 0;

  // One chunk with one choice is begin_chunk(), further members of the choice, end_chunk().
  void begin_chunk(std::string& events, std::uint32_t index) const;
  void end_chunk(std::string& events, std::uint32_t index) const;
  // ,"finish_reason":…,"matched_stop":…
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
  std::string delta_;  // kept for its memory
  std::vector<Sample> samples_;
};

class ChatReply final : public OpenAiReply {
 public:
  ChatReply(AnswerFacts facts, const text::Tokenizer& tokenizer);
  std::string body() override;

 private:
  void append_events(std::uint32_t index,
                     bool first,
                     const std::string& delta,
                     const wire::TokenOutput& output,
                     std::string& events) override;
  bool usage_omits_nulls() const override { return false; }
};

class CompletionReply final : public OpenAiReply {
 public:
  CompletionReply(AnswerFacts facts, const text::Tokenizer& tokenizer);
  std::string body() override;

 private:
  void append_events(std::uint32_t index,
                     bool first,
                     const std::string& delta,
                     const wire::TokenOutput& output,
                     std::string& events) override;
  bool usage_omits_nulls() const override { return true; }
  void append_logprobs(std::string& out, Sample& sample, const PositionLogprobs& positions);
};

}  // namespace fathom::api
