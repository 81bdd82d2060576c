#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "api/answer.h"
#include "api/json_writer.h"
#include "text/tokenizer.h"
#include "wire/messages.h"

// What an answer consists of in OpenAI's Responses API: items, one behind the other.
namespace fathom::api {

struct OutputItem {
  enum class Kind : std::uint8_t { kReasoning, kMessage, kCall };
  enum class State : std::uint8_t { kInProgress, kCompleted, kIncomplete };

  Kind kind = Kind::kMessage;
  State state = State::kInProgress;
  std::string id;                                // "rs_", "msg_" or "fc_" and 32 hexadecimal digits
  std::string text;                              // so far: thoughts, content or a call's arguments
  std::string name;                              // of the function
  std::string call_id;                           // what the call's output names
  std::vector<wire::PositionLogprobs> logprobs;  // of a message's text

  // A new one of the kind that `event` belongs to, without text.
  static OutputItem of(const AnswerEvent& event);
};

// The kind that an event belongs to.
OutputItem::Kind item_kind(const AnswerEvent& event);

// {"id","type":"reasoning","status","summary":[],"content":[{"type":"reasoning_text","text"}]},
// {"id","type":"message","status","role","content":[part]} or
// {"id","type":"function_call","status","call_id","name","arguments"}. One that is in progress has
// none of its text.
void append_item(JsonWriter& writer, const OutputItem& item, const text::Tokenizer& tokenizer);

// The part of a message, {"type":"output_text","text","annotations":[],"logprobs":[…]}, or of
// thoughts, {"type":"reasoning_text","text"}. One of an item in progress has no text.
void append_part(JsonWriter& writer, const OutputItem& item, const text::Tokenizer& tokenizer);

// "in_progress", "completed", "incomplete".
std::string_view state_name(OutputItem::State state);

}  // namespace fathom::api
