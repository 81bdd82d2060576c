#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "api/call.h"
#include "api/sample_state.h"
#include "text/tokenizer.h"

namespace fathom::api {

// How one prompt of /generate wants its samples to be told.
struct NativePrompt {
  std::string rid;
  std::shared_ptr<const AnswerOptions> options;
  bool logprobs = false;
  bool top_logprobs = false;
  bool asked_logprobs = false;
  bool text_in_logprobs = false;
};

struct NativeFacts {
  std::int32_t draft_tokens = 0;  // ServiceOptions'
  std::vector<NativePrompt> prompts;
  std::uint32_t samples = 1;  // of each prompt
  bool batch = false;         // the answer is an array, and events carry an index
  bool stream = false;
  bool incremental = false;  // events carry what is new, not all that is there so far
  std::string weight_version;
  std::int64_t received_ns = 0;  // of base now_ns()
};

// The answers of /generate. Threads and contract: as Reply.
class NativeReply final : public Reply {
 public:
  // `tokenizer` null: answers have no text.
  NativeReply(NativeFacts facts, const text::Tokenizer* tokenizer);

  bool take(std::uint32_t index, const wire::TokenOutput& output, std::string& events) override;
  std::int32_t answer_tokens(std::uint32_t index) const override {
    return samples_[index].state.generated_tokens();
  }
  void close(std::string& events) override;
  std::string body() override;

 private:
  // JSON so far: list elements without brackets, text without quotes.
  struct Lists {
    std::string tokens;
    std::string top;
    std::string asked;
  };
  struct Sample {
    SampleState state;
    std::string text;
    std::string output_ids;
    Lists input;
    Lists output;
  };

  const NativePrompt& prompt_of(std::uint32_t index) const {
    return facts_.prompts[index / facts_.samples];
  }
  void append_lists(Lists& lists,
                    const NativePrompt& prompt,
                    std::span<const wire::PositionLogprobs> positions) const;
  void append_answer(std::string& out, std::uint32_t index) const;
  // What speculation did for it.
  void append_drafts(std::string& out, const SampleState& state) const;
  void append_meta(std::string& out, std::uint32_t index) const;

  NativeFacts facts_;
  const text::Tokenizer* tokenizer_;
  AnswerDelta delta_;  // kept for its memory
  std::vector<Sample> samples_;
};

}  // namespace fathom::api
