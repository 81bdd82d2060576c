#include "api/completion_reply.h"

#include <utility>

#include "api/json_writer.h"
#include "api/logprob_text.h"
#include "base/json.h"

namespace fathom::api {

CompletionReply::CompletionReply(AnswerFacts facts,
                                 const text::Tokenizer& tokenizer,
                                 const std::shared_ptr<const AnswerOptions>& options,
                                 std::vector<std::string> echoes)
    : OpenAiReply(std::move(facts), tokenizer, options, "text_completion"),
      echoes_(std::move(echoes)) {}

std::string_view CompletionReply::echo(std::uint32_t index) const {
  return echoes_.empty() ? std::string_view() : echoes_[index / facts().samples];
}

void CompletionReply::append_logprobs(std::string& out,
                                      Sample& sample,
                                      std::span<const wire::PositionLogprobs> prompt,
                                      std::span<const wire::PositionLogprobs> answer) const {
  out += ",\"logprobs\":";
  if (!facts().logprobs) {
    out += "null";
    return;
  }
  if (prompt.empty()) {
    append_completion_logprobs(out, tokenizer(), answer, facts().top_logprobs, sample.characters);
    return;
  }
  PositionLogprobs both(prompt.begin(), prompt.end());
  both.insert(both.end(), answer.begin(), answer.end());
  append_completion_logprobs(out, tokenizer(), both, facts().top_logprobs, sample.characters);
}

void CompletionReply::append_events(std::uint32_t index,
                                    const AnswerDelta& delta,
                                    std::string& events) {
  Sample& sample = samples()[index];
  // There is no parser: whatever is said is content.
  std::string text(delta.first ? echo(index) : std::string_view());
  for (const AnswerEvent& event : delta.events) text += event.text;
  const bool with_logprobs =
      facts().logprobs && !(delta.logprobs.empty() && delta.prompt_logprobs.empty());
  if (text.empty() && !with_logprobs && !sample.state.finished()) return;
  begin_chunk(events, index);
  events += ",\"text\":";
  append_json_string(events, text);
  append_logprobs(events, sample, delta.prompt_logprobs, delta.logprobs);
  append_finish(events, sample.state);
  end_chunk(events, index);
}

std::string CompletionReply::body() {
  std::string body = begin_body("text_completion");
  std::uint32_t index = 0;
  for (Sample& sample : samples()) {
    if (index > 0) body += ',';
    body += "{\"index\":";
    append_integer(body, index);
    body += ",\"text\":";
    append_json_string(body, std::string(echo(index)) + sample.answer.content);
    append_logprobs(body, sample, sample.answer.prompt_logprobs, sample.answer.logprobs);
    append_finish(body, sample.state);
    body += '}';
    ++index;
  }
  end_body(body);
  return body;
}

}  // namespace fathom::api
