#include "api/messages_reply.h"

#include <string_view>
#include <utility>

#include "api/json_writer.h"
#include "base/json.h"

namespace fathom::api {

namespace {

using Kind = AnswerEvent::Kind;

// An event of the stream up to its first member, its object still open.
JsonWriter begin_event(std::string& events, std::string_view name) {
  events += "event: ";
  events += name;
  events += "\ndata: ";
  JsonWriter writer(events);
  writer.begin_object().string("type", name);
  return writer;
}

void end_event(JsonWriter& writer, std::string& events) {
  writer.end_object();
  events += "\n\n";
}

// A call's arguments as an object: what was cut inside, or is none, is an empty one.
std::string input_of(const std::string& arguments) {
  const Result<Json> parsed = parse_json(arguments);
  return parsed.ok() && parsed->is_object() ? arguments : "{}";
}

}  // namespace

MessagesReply::MessagesReply(MessagesFacts facts,
                             const text::Tokenizer& tokenizer,
                             const std::shared_ptr<const AnswerOptions>& options)
    : facts_(std::move(facts)), state_(&tokenizer, options) {}

bool MessagesReply::take(std::uint32_t /*index*/,
                         const wire::TokenOutput& output,
                         std::string& events) {
  state_.take(output, delta_);
  if (facts_.stream && delta_.first) append_start(events);
  for (const AnswerEvent& event : delta_.events) add(event, events);
  return state_.finished();
}

void MessagesReply::add(const AnswerEvent& event, std::string& events) {
  if (event.kind == Kind::kCallEnd) return;
  const bool begins = event.kind == Kind::kCallBegin;
  const bool argues = event.kind == Kind::kCallArguments;
  if (begins || (!argues && (blocks_.empty() || blocks_.back().kind != event.kind))) {
    open(event, events);
  }
  if (begins) return;
  if (facts_.stream) {
    append_delta(event, events);
  } else {
    blocks_.back().text += event.text;
  }
}

void MessagesReply::open(const AnswerEvent& event, std::string& events) {
  if (facts_.stream) close_block(events);
  Block block{.kind = event.kind, .text = {}, .id = {}, .name = {}};
  if (event.kind == Kind::kCallBegin) {
    // Ids of calls begin like this in Anthropic's answers.
    block.id = "toolu_" + event.id.substr(event.id.find('_') + 1);
    block.name = event.text;
  }
  blocks_.push_back(std::move(block));
  if (!facts_.stream) return;
  JsonWriter writer = begin_event(events, "content_block_start");
  writer.integer("index", static_cast<std::int64_t>(blocks_.size()) - 1).key("content_block");
  append_block(writer, blocks_.back());
  end_event(writer, events);
  open_ = true;
}

void MessagesReply::close_block(std::string& events) {
  if (!std::exchange(open_, false)) return;
  const auto index = static_cast<std::int64_t>(blocks_.size()) - 1;
  if (blocks_.back().kind == Kind::kReasoning) {
    JsonWriter writer = begin_event(events, "content_block_delta");
    writer.integer("index", index)
        .begin_object("delta")
        .string("type", "signature_delta")
        .string("signature", "")
        .end_object();
    end_event(writer, events);
  }
  JsonWriter writer = begin_event(events, "content_block_stop");
  writer.integer("index", index);
  end_event(writer, events);
}

void MessagesReply::append_delta(const AnswerEvent& event, std::string& events) const {
  JsonWriter writer = begin_event(events, "content_block_delta");
  writer.integer("index", static_cast<std::int64_t>(blocks_.size()) - 1).begin_object("delta");
  if (event.kind == Kind::kReasoning) {
    writer.string("type", "thinking_delta").string("thinking", event.text);
  } else if (event.kind == Kind::kContent) {
    writer.string("type", "text_delta").string("text", event.text);
  } else {
    writer.string("type", "input_json_delta").string("partial_json", event.text);
  }
  writer.end_object();
  end_event(writer, events);
}

void MessagesReply::append_block(JsonWriter& writer, const Block& block) {
  writer.begin_object();
  if (block.kind == Kind::kReasoning) {
    writer.string("type", "thinking").string("thinking", block.text).string("signature", "");
  } else if (block.kind == Kind::kContent) {
    writer.string("type", "text").string("text", block.text);
  } else {
    writer.string("type", "tool_use")
        .string("id", block.id)
        .string("name", block.name)
        .raw("input", input_of(block.text));
  }
  writer.end_object();
}

void MessagesReply::append_stop(JsonWriter& writer) const {
  const auto* const text = std::get_if<std::string>(&state_.matched());
  if (state_.finish() != wire::Finish::kStop) {
    // What an operator ended is as incomplete as what the limit did.
    writer.string("stop_reason", "max_tokens").null("stop_sequence");
  } else if (state_.has_calls()) {
    writer.string("stop_reason", "tool_use").null("stop_sequence");
  } else if (text != nullptr) {
    writer.string("stop_reason", "stop_sequence").string("stop_sequence", *text);
  } else {
    writer.string("stop_reason", "end_turn").null("stop_sequence");
  }
}

void MessagesReply::append_usage(JsonWriter& writer) const {
  // Anthropic's count of the input leaves out what the cache had.
  const std::int32_t cached = facts_.cache_report ? state_.cached_tokens() : 0;
  writer.begin_object("usage")
      .integer("input_tokens", state_.prompt_tokens() - cached)
      .integer("cache_creation_input_tokens", 0)
      .integer("cache_read_input_tokens", cached)
      .integer("output_tokens", state_.generated_tokens())
      .end_object();
}

void MessagesReply::append_start(std::string& events) const {
  JsonWriter writer = begin_event(events, "message_start");
  writer.begin_object("message")
      .string("id", facts_.id)
      .string("type", "message")
      .string("role", "assistant")
      .string("model", facts_.model)
      .begin_array("content")
      .end_array()
      .null("stop_reason")
      .null("stop_sequence");
  append_usage(writer);
  writer.end_object();
  end_event(writer, events);
}

void MessagesReply::close(std::string& events) {
  close_block(events);
  JsonWriter delta = begin_event(events, "message_delta");
  append_stop(delta.begin_object("delta"));
  delta.end_object();
  append_usage(delta);
  end_event(delta, events);
  JsonWriter stop = begin_event(events, "message_stop");
  end_event(stop, events);
}

std::string MessagesReply::body() {
  std::string body;
  JsonWriter writer(body);
  writer.begin_object()
      .string("id", facts_.id)
      .string("type", "message")
      .string("role", "assistant")
      .string("model", facts_.model)
      .begin_array("content");
  for (const Block& block : blocks_) append_block(writer, block);
  writer.end_array();
  append_stop(writer);
  append_usage(writer);
  writer.end_object();
  return body;
}

}  // namespace fathom::api
