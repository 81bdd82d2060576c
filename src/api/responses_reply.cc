#include "api/responses_reply.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <span>
#include <utility>

#include "api/logprob_text.h"
#include "base/clock.h"

namespace fathom::api {

namespace {

using EventKind = AnswerEvent::Kind;
using ItemKind = OutputItem::Kind;
using ItemState = OutputItem::State;

}  // namespace

ResponsesReply::ResponsesReply(ResponseFacts facts,
                               const text::Tokenizer& tokenizer,
                               const std::shared_ptr<const AnswerOptions>& options)
    : facts_(std::move(facts)), tokenizer_(&tokenizer), state_(&tokenizer, options) {}

bool ResponsesReply::take(std::uint32_t /*index*/,
                          const wire::TokenOutput& output,
                          std::string& events) {
  state_.take(output, delta_);
  if (delta_.first && facts_.stream) {
    append_response_event(events, "response.created", "in_progress");
    append_response_event(events, "response.in_progress", "in_progress");
  }
  if (facts_.logprobs) keep_logprobs();
  for (const AnswerEvent& event : delta_.events) take_event(event, events);
  if (state_.finished()) finish_items(events);
  return state_.finished();
}

void ResponsesReply::keep_logprobs() {
  const std::int64_t first =
      state_.generated_tokens() - static_cast<std::int64_t>(delta_.tokens.size());
  const std::int64_t thoughts = std::max<std::int64_t>(state_.reasoning_tokens() - first, 0);
  if (thoughts >= static_cast<std::int64_t>(delta_.logprobs.size())) return;
  const auto rest = delta_.logprobs.subspan(static_cast<std::size_t>(thoughts));
  waiting_.insert(waiting_.end(), rest.begin(), rest.end());
}

void ResponsesReply::take_event(const AnswerEvent& event, std::string& events) {
  if (event.kind == EventKind::kCallEnd) {
    close_item(ItemState::kCompleted, events);
    return;
  }
  const bool begins =
      !is_open_ || event.kind == EventKind::kCallBegin || open().kind != item_kind(event);
  if (begins) open_item(event, events);
  if (event.kind != EventKind::kCallBegin) add_text(event, events);
}

void ResponsesReply::open_item(const AnswerEvent& event, std::string& events) {
  // A call is closed by its own end; without one its arguments are no JSON object.
  const bool whole = is_open_ && open().kind != ItemKind::kCall;
  close_item(whole ? ItemState::kCompleted : ItemState::kIncomplete, events);
  items_.push_back(OutputItem::of(event));
  is_open_ = true;
  if (open().kind == ItemKind::kCall) waiting_.clear();
  if (!facts_.stream) return;
  append_item_event(events, "response.output_item.added");
  if (open().kind != ItemKind::kCall) append_part_event(events, "response.content_part.added");
}

void ResponsesReply::add_text(const AnswerEvent& event, std::string& events) {
  OutputItem& item = open();
  item.text += event.text;
  std::vector<wire::PositionLogprobs> logprobs;
  if (item.kind == ItemKind::kMessage) logprobs = std::exchange(waiting_, {});
  if (facts_.stream) {
    if (item.kind == ItemKind::kCall) {
      JsonWriter writer = begin_item_event(events, "response.function_call_arguments.delta");
      writer.string("delta", event.text);
      end_event(writer, events);
    } else if (item.kind == ItemKind::kReasoning) {
      JsonWriter writer = begin_item_event(events, "response.reasoning_text.delta");
      writer.integer("content_index", 0).string("delta", event.text);
      end_event(writer, events);
    } else {
      std::string told;
      append_chat_logprobs(told, *tokenizer_, logprobs);
      JsonWriter writer = begin_item_event(events, "response.output_text.delta");
      writer.integer("content_index", 0).string("delta", event.text).raw("logprobs", told);
      end_event(writer, events);
    }
  }
  item.logprobs.insert(item.logprobs.end(), std::make_move_iterator(logprobs.begin()),
                       std::make_move_iterator(logprobs.end()));
}

void ResponsesReply::close_item(ItemState state, std::string& events) {
  if (!is_open_) return;
  OutputItem& item = open();
  item.state = state;
  if (facts_.stream) {
    if (item.kind == ItemKind::kCall) {
      JsonWriter writer = begin_item_event(events, "response.function_call_arguments.done");
      writer.string("name", item.name).string("arguments", item.text);
      end_event(writer, events);
    } else if (item.kind == ItemKind::kReasoning) {
      JsonWriter writer = begin_item_event(events, "response.reasoning_text.done");
      writer.integer("content_index", 0).string("text", item.text);
      end_event(writer, events);
    } else {
      std::string told;
      append_chat_logprobs(told, *tokenizer_, item.logprobs);
      JsonWriter writer = begin_item_event(events, "response.output_text.done");
      writer.integer("content_index", 0).string("text", item.text).raw("logprobs", told);
      end_event(writer, events);
    }
    if (item.kind != ItemKind::kCall) append_part_event(events, "response.content_part.done");
    append_item_event(events, "response.output_item.done");
  }
  is_open_ = false;
}

void ResponsesReply::finish_items(std::string& events) {
  if (!is_open_) return;
  // The token that ended the answer has no text of its own.
  if (open().kind == ItemKind::kMessage) {
    std::vector<wire::PositionLogprobs>& kept = open().logprobs;
    kept.insert(kept.end(), waiting_.begin(), waiting_.end());
    waiting_.clear();
  }
  const bool whole = state_.finish() == wire::Finish::kStop && open().kind != ItemKind::kCall;
  close_item(whole ? ItemState::kCompleted : ItemState::kIncomplete, events);
}

std::string_view ResponsesReply::final_status() const {
  if (state_.finish() == wire::Finish::kStop) return "completed";
  return state_.finish() == wire::Finish::kLength ? "incomplete" : "cancelled";
}

void ResponsesReply::close(std::string& events) {
  // There is no event of its own for an answer that someone asked to end.
  const std::string_view status = final_status();
  append_response_event(
      events, status == "completed" ? "response.completed" : "response.incomplete", status);
}

void ResponsesReply::fail(const Refusal& refusal, ErrorForm /*form*/, std::string& events) {
  close_item(ItemState::kIncomplete, events);
  append_response_event(events, "response.failed", "failed", &refusal);
}

std::string ResponsesReply::body() {
  std::string body;
  JsonWriter writer(body);
  append_response(writer, final_status(), nullptr);
  return body;
}

JsonWriter ResponsesReply::begin_event(std::string& events, std::string_view type) {
  events += "event: ";
  events += type;
  events += "\ndata: ";
  JsonWriter writer(events);
  writer.begin_object().string("type", type).integer("sequence_number", sequence_++);
  return writer;
}

void ResponsesReply::end_event(JsonWriter& writer, std::string& events) {
  writer.end_object();
  events += "\n\n";
}

JsonWriter ResponsesReply::begin_item_event(std::string& events, std::string_view type) {
  JsonWriter writer = begin_event(events, type);
  writer.string("item_id", open().id)
      .integer("output_index", static_cast<std::int64_t>(items_.size()) - 1);
  return writer;
}

void ResponsesReply::append_item_event(std::string& events, std::string_view type) {
  JsonWriter writer = begin_event(events, type);
  writer.integer("output_index", static_cast<std::int64_t>(items_.size()) - 1).key("item");
  append_item(writer, open(), *tokenizer_);
  end_event(writer, events);
}

void ResponsesReply::append_part_event(std::string& events, std::string_view type) {
  JsonWriter writer = begin_item_event(events, type);
  writer.integer("content_index", 0).key("part");
  append_part(writer, open(), *tokenizer_);
  end_event(writer, events);
}

void ResponsesReply::append_response_event(std::string& events,
                                           std::string_view type,
                                           std::string_view status,
                                           const Refusal* error) {
  JsonWriter writer = begin_event(events, type);
  writer.key("response");
  append_response(writer, status, error);
  end_event(writer, events);
}

void ResponsesReply::append_response(JsonWriter& writer,
                                     std::string_view status,
                                     const Refusal* error) const {
  writer.begin_object()
      .string("id", facts_.id)
      .string("object", "response")
      .integer("created_at", facts_.created)
      .string("status", status);
  if (status == "completed") {
    writer.integer("completed_at", static_cast<std::int64_t>(unix_time_s()));
  } else {
    writer.null("completed_at");
  }
  if (error != nullptr) {
    writer.begin_object("error")
        .string("code", "server_error")
        .string("message", error->message)
        .end_object();
  } else {
    writer.null("error");
  }
  if (status == "incomplete") {
    writer.begin_object("incomplete_details").string("reason", "max_output_tokens").end_object();
  } else {
    writer.null("incomplete_details");
  }
  writer.begin_array("output");
  for (const OutputItem& item : items_) append_item(writer, item, *tokenizer_);
  writer.end_array().raw(facts_.settings).key("usage");
  if (status == "in_progress") {
    writer.null();
  } else {
    append_usage(writer);
  }
  writer.end_object();
}

void ResponsesReply::append_usage(JsonWriter& writer) const {
  const std::int64_t input = state_.prompt_tokens();
  const std::int64_t output = state_.generated_tokens();
  writer.begin_object()
      .integer("input_tokens", input)
      .begin_object("input_tokens_details")
      .integer("cached_tokens", facts_.cache_report ? state_.cached_tokens() : 0)
      .integer("cache_write_tokens", 0)
      .end_object()
      .integer("output_tokens", output)
      .begin_object("output_tokens_details")
      .integer("reasoning_tokens", state_.reasoning_tokens())
      .end_object()
      .integer("total_tokens", input + output)
      .end_object();
}

}  // namespace fathom::api
