#include "api/openai_reply.h"

#include <utility>

#include "api/json_writer.h"

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
                         const std::shared_ptr<const AnswerOptions>& options,
                         std::string_view stream_object)
    : facts_(std::move(facts)), tokenizer_(&tokenizer) {
  if (facts_.stream) head_ = "data: " + head(facts_, stream_object);
  const std::size_t count = std::size_t{facts_.prompts} * facts_.samples;
  samples_.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    samples_.push_back({SampleState(&tokenizer, options), {}});
  }
}

bool OpenAiReply::take(std::uint32_t index, const wire::TokenOutput& output, std::string& events) {
  Sample& sample = samples_[index];
  sample.state.take(output, delta_);
  if (facts_.stream) {
    append_events(index, delta_, events);
  } else {
    sample.answer.add(delta_);
  }
  return sample.state.finished();
}

Usage OpenAiReply::usage() const {
  Usage usage;
  for (std::size_t i = 0; i < samples_.size(); ++i) {
    usage.add(samples_[i].state, i % facts_.samples == 0);
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
    Usage usage;
    usage.add(samples_[index].state, true);
    append_usage(events, usage, facts_.cache_report);
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
  const bool called = state.finish() == wire::Finish::kStop && state.has_calls();
  out += ',';
  JsonWriter writer(out);
  writer.string("finish_reason", called ? "tool_calls" : finish_name(state.finish()));
  append_matched(writer.key("matched_stop"), called ? MatchedStop() : state.matched());
}

std::string OpenAiReply::begin_body(std::string_view object) const { return head(facts_, object); }

void OpenAiReply::end_body(std::string& body) const {
  body += "],\"usage\":";
  append_usage(body, usage(), facts_.cache_report);
  body += ",\"metadata\":";
  JsonWriter(body).begin_object().string("weight_version", facts_.weight_version).end_object();
  body += '}';
}

}  // namespace fathom::api
