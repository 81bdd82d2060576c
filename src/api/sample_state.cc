#include "api/sample_state.h"

#include <cstddef>

#include "api/json_writer.h"
#include "base/check.h"

namespace fathom::api {

SampleState::SampleState(const text::Tokenizer* tokenizer,
                         bool skip_special_tokens,
                         bool keep_stop_token)
    : keep_stop_token_(keep_stop_token) {
  if (tokenizer != nullptr) decoder_.emplace(*tokenizer, skip_special_tokens);
}

void SampleState::take(const wire::TokenOutput& output, std::string& text) {
  FATHOM_CHECK(!finished());
  started_ = true;
  finish_ = output.finish;
  stop_token_ = output.stop_token;
  error_ = output.error;
  prompt_tokens_ = output.prompt_tokens;
  generated_tokens_ = output.generated_tokens;
  cached_tokens_ = output.cached_tokens;
  retractions_ = output.retractions;
  if (!decoder_) return;
  std::size_t shown = output.tokens.size();
  if (finish_ == wire::Finish::kStop && !keep_stop_token_ && shown > 0) --shown;
  for (std::size_t i = 0; i < shown; ++i) decoder_->push(output.tokens[i], text);
  if (finished()) decoder_->flush(text);
}

std::string_view finish_name(wire::Finish finish) {
  switch (finish) {
    case wire::Finish::kStop:
      return "stop";
    case wire::Finish::kLength:
      return "length";
    case wire::Finish::kAbort:
      return "abort";
    case wire::Finish::kNone:
      break;
  }
  FATHOM_CHECK(false);
}

void append_usage(std::string& out, const Usage& usage, bool cache_report, bool omit_nulls) {
  JsonWriter writer(out);
  writer.begin_object()
      .integer("prompt_tokens", usage.prompt_tokens)
      .integer("total_tokens", usage.prompt_tokens + usage.completion_tokens)
      .integer("completion_tokens", usage.completion_tokens);
  if (cache_report && usage.cached_tokens > 0) {
    writer.begin_object("prompt_tokens_details")
        .integer("cached_tokens", usage.cached_tokens)
        .end_object();
  } else if (!omit_nulls) {
    writer.null("prompt_tokens_details");
  }
  writer.integer("reasoning_tokens", 0).end_object();
}

}  // namespace fathom::api
