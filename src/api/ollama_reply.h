#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "api/answer.h"
#include "api/call.h"
#include "api/sample_state.h"

namespace fathom::api {

// Now, as RFC 3339 writes it, in UTC.
std::string rfc3339_now();

// Of what an answer of Ollama's endpoints is told.
struct OllamaFacts {
  std::string model;  // as the request calls it
  bool chat = false;  // /api/chat; else /api/generate
  bool stream = true;
  bool load = false;          // only asks whether the model is there: nothing is generated
  std::int64_t begun_ns = 0;  // of now_ns(): durations count from here
};

// The answers of /api/chat and /api/generate: one JSON object, or one a line as the answer comes,
// the last with what it took. A call is told when all of it is there; one that was cut has no
// arguments.
class OllamaReply final : public Reply {
 public:
  OllamaReply(OllamaFacts facts,
              const text::Tokenizer& tokenizer,
              const std::shared_ptr<const AnswerOptions>& options);

  bool take(std::uint32_t index, const wire::TokenOutput& output, std::string& events) override;
  std::int32_t answer_tokens(std::uint32_t /*index*/) const override {
    return state_.generated_tokens();
  }
  void close(std::string& events) override;
  std::string body() override;
  std::string_view stream_type() const override { return "application/x-ndjson"; }

 private:
  // An object that tells what answer_ has gathered, whose text is then dropped, and the calls from
  // `told_` to `calls`.
  void append_object(std::string& out, std::size_t calls, bool done);
  void append_done(JsonWriter& writer) const;

  OllamaFacts facts_;
  SampleState state_;
  AnswerDelta delta_;          // kept for its memory
  WholeAnswer answer_;         // what is not told yet, and all calls
  std::size_t told_ = 0;       // calls
  std::size_t complete_ = 0;   // calls
  std::int64_t first_ns_ = 0;  // when the first output came
  std::int64_t last_ns_ = 0;
};

}  // namespace fathom::api
