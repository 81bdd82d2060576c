#include "api/response_items.h"

#include <span>

#include "api/core.h"
#include "api/logprob_text.h"

namespace fathom::api {

namespace {

using Kind = OutputItem::Kind;
using State = OutputItem::State;

std::string_view id_prefix(Kind kind) {
  if (kind == Kind::kReasoning) return "rs_";
  return kind == Kind::kMessage ? "msg_" : "fc_";
}

std::string_view type_name(Kind kind) {
  if (kind == Kind::kReasoning) return "reasoning";
  return kind == Kind::kMessage ? "message" : "function_call";
}

}  // namespace

OutputItem::Kind item_kind(const AnswerEvent& event) {
  if (event.kind == AnswerEvent::Kind::kReasoning) return Kind::kReasoning;
  return event.kind == AnswerEvent::Kind::kContent ? Kind::kMessage : Kind::kCall;
}

OutputItem OutputItem::of(const AnswerEvent& event) {
  OutputItem item;
  item.kind = item_kind(event);
  item.id = std::string(id_prefix(item.kind)) + random_id();
  if (event.kind == AnswerEvent::Kind::kCallBegin) {
    item.name = event.text;
    item.call_id = event.id;
  }
  return item;
}

std::string_view state_name(State state) {
  if (state == State::kInProgress) return "in_progress";
  return state == State::kCompleted ? "completed" : "incomplete";
}

void append_part(JsonWriter& writer, const OutputItem& item, const text::Tokenizer& tokenizer) {
  const bool told = item.state != State::kInProgress;
  const std::string_view text = told ? std::string_view(item.text) : "";
  if (item.kind == Kind::kReasoning) {
    writer.begin_object().string("type", "reasoning_text").string("text", text).end_object();
    return;
  }
  std::string logprobs;
  append_chat_logprobs(logprobs, tokenizer,
                       told ? std::span<const wire::PositionLogprobs>(item.logprobs)
                            : std::span<const wire::PositionLogprobs>());
  writer.begin_object()
      .string("type", "output_text")
      .string("text", text)
      .begin_array("annotations")
      .end_array()
      .raw("logprobs", logprobs)
      .end_object();
}

void append_item(JsonWriter& writer, const OutputItem& item, const text::Tokenizer& tokenizer) {
  const bool told = item.state != State::kInProgress;
  writer.begin_object()
      .string("id", item.id)
      .string("type", type_name(item.kind))
      .string("status", state_name(item.state));
  if (item.kind == Kind::kCall) {
    writer.string("call_id", item.call_id)
        .string("name", item.name)
        .string("arguments", told ? std::string_view(item.text) : "");
  } else {
    if (item.kind == Kind::kReasoning) {
      writer.begin_array("summary").end_array();
    } else {
      writer.string("role", "assistant");
    }
    writer.begin_array("content");
    if (told) append_part(writer, item, tokenizer);
    writer.end_array();
  }
  writer.end_object();
}

}  // namespace fathom::api
