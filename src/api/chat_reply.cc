#include "api/chat_reply.h"

#include <utility>

#include "api/json_writer.h"
#include "api/logprob_text.h"
#include "base/json.h"

namespace fathom::api {

namespace {

using Kind = AnswerEvent::Kind;
using Positions = std::span<const wire::PositionLogprobs>;

// The members of a delta that tells `text` as content, or as thoughts.
std::string text_members(std::string_view text, bool thoughts) {
  std::string out = R"("role":null,"content":)";
  if (thoughts) out += R"(null,"reasoning_content":)";
  append_json_string(out, text);
  if (!thoughts) out += R"(,"reasoning_content":null)";
  return out;
}

// A call's first delta names it; later ones carry arguments.
std::string call_members(const AnswerEvent& event) {
  std::string out = R"("role":null,"content":null,"reasoning_content":null,)";
  JsonWriter writer(out);
  const bool begins = event.kind == Kind::kCallBegin;
  out += R"("tool_calls":[)";
  writer.begin_object().integer("index", event.call);
  if (begins) {
    writer.string("id", event.id);
  } else {
    writer.null("id");
  }
  writer.string("type", "function").begin_object("function");
  if (begins) {
    writer.string("name", event.text).string("arguments", "");
  } else {
    writer.null("name").string("arguments", event.text);
  }
  writer.end_object().end_object();
  out += ']';
  return out;
}

std::string members_of(const AnswerEvent& event) {
  if (event.kind == Kind::kReasoning) return text_members(event.text, true);
  if (event.kind == Kind::kContent) return text_members(event.text, false);
  return call_members(event);
}

void append_message(std::string& out, const WholeAnswer& answer) {
  JsonWriter writer(out);
  writer.begin_object().string("role", "assistant").string("content", answer.content);
  if (answer.reasoning.empty()) {
    writer.null("reasoning_content");
  } else {
    writer.string("reasoning_content", answer.reasoning);
  }
  if (!answer.calls.empty()) {
    writer.begin_array("tool_calls");
    std::int64_t index = 0;
    for (const WholeAnswer::ToolCall& call : answer.calls) {
      writer.begin_object()
          .string("id", call.id)
          .integer("index", index++)
          .string("type", "function")
          .begin_object("function")
          .string("name", call.name)
          .string("arguments", call.arguments)
          .end_object()
          .end_object();
    }
    writer.end_array();
  }
  writer.end_object();
}

}  // namespace

ChatReply::ChatReply(AnswerFacts facts,
                     const text::Tokenizer& tokenizer,
                     const std::shared_ptr<const AnswerOptions>& options)
    : OpenAiReply(std::move(facts), tokenizer, options, "chat.completion.chunk") {}

void ChatReply::append_logprobs(std::string& out, Positions positions) const {
  out += ",\"logprobs\":{\"content\":";
  append_chat_logprobs(out, tokenizer(), positions);
  out += '}';
}

void ChatReply::append_chunk(std::uint32_t index,
                             std::string_view members,
                             Positions logprobs,
                             std::string& events) const {
  begin_chunk(events, index);
  events += ",\"delta\":{";
  events += members;
  events += '}';
  if (logprobs.empty()) {
    events += ",\"logprobs\":null";
  } else {
    append_logprobs(events, logprobs);
  }
  events += ",\"finish_reason\":null,\"matched_stop\":null";
  end_chunk(events, index);
}

void ChatReply::append_events(std::uint32_t index, const AnswerDelta& delta, std::string& events) {
  if (delta.first) {
    append_chunk(index, R"("role":"assistant","content":"","reasoning_content":null)", {}, events);
  }
  Positions logprobs = facts().logprobs ? delta.logprobs : Positions();
  for (const AnswerEvent& event : delta.events) {
    if (event.kind == Kind::kCallEnd) continue;
    append_chunk(index, members_of(event), std::exchange(logprobs, {}), events);
  }
  // Tokens without text of their own still have log-probabilities.
  if (!logprobs.empty()) append_chunk(index, text_members("", false), logprobs, events);

  const SampleState& state = samples()[index].state;
  if (!state.finished()) return;
  begin_chunk(events, index);
  events += R"(,"delta":{"role":null,"content":null,"reasoning_content":null},"logprobs":null)";
  append_finish(events, state);
  end_chunk(events, index);
}

std::string ChatReply::body() {
  std::string body = begin_body("chat.completion");
  std::int64_t index = 0;
  for (const Sample& sample : samples()) {
    if (index > 0) body += ',';
    body += "{\"index\":";
    append_integer(body, index++);
    body += ",\"message\":";
    append_message(body, sample.answer);
    if (facts().logprobs) {
      append_logprobs(body, sample.answer.logprobs);
    } else {
      body += ",\"logprobs\":null";
    }
    append_finish(body, sample.state);
    body += '}';
  }
  end_body(body);
  return body;
}

}  // namespace fathom::api
