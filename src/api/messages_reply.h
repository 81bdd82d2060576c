#pragma once

#include <memory>
#include <string>
#include <vector>

#include "api/answer.h"
#include "api/call.h"
#include "api/sample_state.h"

namespace fathom::api {

// What the answers of Anthropic's Messages say beside their text.
struct MessagesFacts {
  std::string id;
  std::string model;  // as the request calls it
  bool stream = false;
  bool cache_report = false;
};

// The answers of /v1/messages: blocks of thoughts, text and calls in the order in which they came.
// A stream has one block open at a time, and begins it with its first text.
class MessagesReply final : public Reply {
 public:
  MessagesReply(MessagesFacts facts,
                const text::Tokenizer& tokenizer,
                const std::shared_ptr<const AnswerOptions>& options);

  bool take(std::uint32_t index, const wire::TokenOutput& output, std::string& events) override;
  std::int32_t answer_tokens(std::uint32_t /*index*/) const override {
    return state_.generated_tokens();
  }
  void close(std::string& events) override;
  std::string body() override;

 private:
  struct Block {
    AnswerEvent::Kind kind = AnswerEvent::Kind::kContent;  // kReasoning, kContent or kCallBegin
    std::string text;  // of an answer that is no stream: of a call, its arguments
    std::string id;    // of a call
    std::string name;  // likewise
  };

  void add(const AnswerEvent& event, std::string& events);
  void open(const AnswerEvent& event, std::string& events);
  void close_block(std::string& events);
  void append_delta(const AnswerEvent& event, std::string& events) const;
  void append_start(std::string& events) const;
  static void append_block(JsonWriter& writer, const Block& block);
  // "stop_reason":…,"stop_sequence":…
  void append_stop(JsonWriter& writer) const;
  void append_usage(JsonWriter& writer) const;

  MessagesFacts facts_;
  SampleState state_;
  AnswerDelta delta_;  // kept for its memory
  std::vector<Block> blocks_;
  bool open_ = false;  // the last block still is, in a stream
};

}  // namespace fathom::api
