#pragma once

#include "api/openai_reply.h"

namespace fathom::api {

// The answers of /v1/chat/completions. A chunk tells one thing: the role, thoughts, content, the
// beginning of a call, more of its arguments, or the end. The log-probabilities of a step go with
// its first chunk, and with one of their own when the step has no text.
class ChatReply final : public OpenAiReply {
 public:
  ChatReply(AnswerFacts facts,
            const text::Tokenizer& tokenizer,
            const std::shared_ptr<const AnswerOptions>& options);
  std::string body() override;

 private:
  void append_events(std::uint32_t index, const AnswerDelta& delta, std::string& events) override;
  bool usage_omits_nulls() const override { return false; }

  // ,"logprobs":…
  void append_logprobs(std::string& out, std::span<const wire::PositionLogprobs> positions) const;
  // A chunk whose delta has these members.
  void append_chunk(std::uint32_t index,
                    std::string_view members,
                    std::span<const wire::PositionLogprobs> logprobs,
                    std::string& events) const;
};

}  // namespace fathom::api
