#include "api/openai_reply.h"

#include <utility>

#include "api/json_writer.h"
#include "base/json.h"

namespace fathom::api {

namespace {

// The members of an answer or chunk before its choices, still open.
std::string head(const AnswerFacts& facts, std::string_view object) {
  std::string out;
  JsonWriter(out)
      .begin_object()
      .string("id", facts.id)
      .string("object", object)
      .integer("created", facts.created)
      .string("model", facts.model)
      .begin_array("choices");
  return out;
}

}  // namespace

OpenAiReply::OpenAiReply(AnswerFacts facts,
                         const text::Tokenizer& tokenizer,
                         std::string_view stream_object)
    : facts_(std::move(facts)), tokenizer_(&tokenizer) {
  if (facts_.stream) head_ = "data: " + head(facts_, stream_object);
  const std::size_t count = std::size_t{facts_.prompts} * facts_.samples;
  samples_.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    samples_.push_back(
        {SampleState(&tokenizer, facts_.skip_special_tokens, facts_.keep_stop_token), {}, {}});
  }
}

void OpenAiReply::take(std::uint32_t index, const wire::TokenOutput& output, std::string& events) {
  Sample& sample = samples_[index];
  const bool first = !sample.state.started();
  if (!facts_.stream) {
    sample.state.take(output, sample.text);
    sample.logprobs.insert(sample.logprobs.end(), output.logprobs.begin(), output.logprobs.end());
    return;
  }
  delta_.clear();
  sample.state.take(output, delta_);
  append_events(index, first, delta_, output, events);
}

Usage OpenAiReply::usage() const {
  Usage usage;
  for (std::size_t i = 0; i < samples_.size(); ++i) {
    const SampleState& state = samples_[i].state;
    usage.completion_tokens += state.generated_tokens();
    if (i % facts_.samples != 0) continue;
    usage.prompt_tokens += state.prompt_tokens();
    usage.cached_tokens += state.cached_tokens();
  }
  return usage;
}

void OpenAiReply::close(std::string& events) {
  if (facts_.include_usage) {
    events += head_;
    events += "],\"usage\":";
    append_usage(events, usage(), facts_.cache_report, usage_omits_nulls());
    events += "}\n\n";
  }
  events += kDoneEvent;
}

void OpenAiReply::begin_chunk(std::string& events, std::uint32_t index) const {
  events += head_;
  events += "{\"index\":";
  append_integer(events, index);
}

void OpenAiReply::end_chunk(std::string& events, std::uint32_t index) const {
  events += "}],\"usage\":";
  if (facts_.continuous_usage) {
    const SampleState& state = samples_[index].state;
    append_usage(events, {state.prompt_tokens(), state.generated_tokens(), state.cached_tokens()},
                 facts_.cache_report);
  } else {
    events += "null";
  }
  events += "}\n\n";
}

void OpenAiReply::append_finish(std::string& out, const SampleState& state) {
  if (!state.finished()) {
    out += ",\"finish_reason\":null,\"matched_stop\":null";
    return;
  }
  out += ",\"finish_reason\":\"";
  out += finish_name(state.finish());
  out += "\",\"matched_stop\":";
  if (state.finish() == wire::Finish::kStop) {
    append_integer(out, state.stop_token());
  } else {
    out += "null";
  }
}

std::string OpenAiReply::begin_body(std::string_view object) const { return head(facts_, object); }

void OpenAiReply::end_body(std::string& body) const {
  body += "],\"usage\":";
  append_usage(body, usage(), facts_.cache_report);
  body += ",\"metadata\":";
  JsonWriter(body).begin_object().string("weight_version", facts_.weight_version).end_object();
  body += '}';
}

// Chat.

ChatReply::ChatReply(AnswerFacts facts, const text::Tokenizer& tokenizer)
    : OpenAiReply(std::move(facts), tokenizer, "chat.completion.chunk") {}

void ChatReply::append_events(std::uint32_t index,
                              bool first,
                              const std::string& delta,
                              const wire::TokenOutput& output,
                              std::string& events) {
  constexpr std::string_view kNoMore = ",\"finish_reason\":null,\"matched_stop\":null";
  const Sample& sample = samples()[index];
  if (first) {
    begin_chunk(events, index);
    events +=
        ",\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"reasoning_content\":null,"
        "\"tool_calls\":null},\"logprobs\":null";
    events += kNoMore;
    end_chunk(events, index);
  }
  // Tokens without text of their own still have log-probabilities.
  const bool with_logprobs = facts().logprobs && !output.logprobs.empty();
  if (!delta.empty() || with_logprobs) {
    begin_chunk(events, index);
    events += ",\"delta\":{\"role\":null,\"content\":";
    append_json_string(events, delta);
    events += ",\"reasoning_content\":null,\"tool_calls\":null},\"logprobs\":";
    if (with_logprobs) {
      events += "{\"content\":";
      append_chat_logprobs(events, tokenizer(), output.logprobs);
      events += '}';
    } else {
      events += "null";
    }
    events += kNoMore;
    end_chunk(events, index);
  }
  if (sample.state.finished()) {
    begin_chunk(events, index);
    events +=
        ",\"delta\":{\"role\":null,\"content\":null,\"reasoning_content\":null,"
        "\"tool_calls\":null},\"logprobs\":null";
    append_finish(events, sample.state);
    end_chunk(events, index);
  }
}

std::string ChatReply::body() {
  std::string body = begin_body("chat.completion");
  std::int64_t index = 0;
  for (const Sample& sample : samples()) {
    if (index > 0) body += ',';
    body += "{\"index\":";
    append_integer(body, index++);
    body += ",\"message\":{\"role\":\"assistant\",\"content\":";
    if (sample.text.empty()) {
      body += "null";
    } else {
      append_json_string(body, sample.text);
    }
    body += ",\"reasoning_content\":null,\"tool_calls\":null},\"logprobs\":";
    if (facts().logprobs) {
      body += "{\"content\":";
      append_chat_logprobs(body, tokenizer(), sample.logprobs);
      body += '}';
    } else {
      body += "null";
    }
    append_finish(body, sample.state);
    body += '}';
  }
  end_body(body);
  return body;
}

// Completions.

CompletionReply::CompletionReply(AnswerFacts facts, const text::Tokenizer& tokenizer)
    : OpenAiReply(std::move(facts), tokenizer, "text_completion") {}

void CompletionReply::append_logprobs(std::string& out,
                                      Sample& sample,
                                      const PositionLogprobs& positions) {
  out += ",\"logprobs\":";
  if (facts().logprobs) {
    append_completion_logprobs(out, tokenizer(), positions, facts().top_logprobs,
                               sample.characters);
  } else {
    out += "null";
  }
}

void CompletionReply::append_events(std::uint32_t index,
                                    bool /*first*/,
                                    const std::string& delta,
                                    const wire::TokenOutput& output,
                                    std::string& events) {
  Sample& sample = samples()[index];
  const bool with_logprobs = facts().logprobs && !output.logprobs.empty();
  if (delta.empty() && !with_logprobs && !sample.state.finished()) return;
  begin_chunk(events, index);
  events += ",\"text\":";
  append_json_string(events, delta);
  append_logprobs(events, sample, output.logprobs);
  append_finish(events, sample.state);
  end_chunk(events, index);
}

std::string CompletionReply::body() {
  std::string body = begin_body("text_completion");
  std::int64_t index = 0;
  for (Sample& sample : samples()) {
    if (index > 0) body += ',';
    body += "{\"index\":";
    append_integer(body, index++);
    body += ",\"text\":";
    append_json_string(body, sample.text);
    append_logprobs(body, sample, sample.logprobs);
    append_finish(body, sample.state);
    body += '}';
  }
  end_body(body);
  return body;
}

}  // namespace fathom::api
