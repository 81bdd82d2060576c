#pragma once

#include "api/openai_reply.h"

namespace fathom::api {

// The answers of /v1/completions.
class CompletionReply final : public OpenAiReply {
 public:
  // `echoes`: the text of each prompt, told before its answers; empty: none is.
  CompletionReply(AnswerFacts facts,
                  const text::Tokenizer& tokenizer,
                  const std::shared_ptr<const AnswerOptions>& options,
                  std::vector<std::string> echoes);
  std::string body() override;

 private:
  void append_events(std::uint32_t index, const AnswerDelta& delta, std::string& events) override;
  bool usage_omits_nulls() const override { return true; }

  std::string_view echo(std::uint32_t index) const;
  // ,"logprobs":… of the prompt's positions, then the answer's.
  void append_logprobs(std::string& out,
                       Sample& sample,
                       std::span<const wire::PositionLogprobs> prompt,
                       std::span<const wire::PositionLogprobs> answer) const;

  std::vector<std::string> echoes_;
};

}  // namespace fathom::api
