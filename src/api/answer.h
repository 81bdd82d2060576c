#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "text/answer_parser.h"
#include "text/stop_matcher.h"
#include "wire/messages.h"

// What an answer says, apart from the protocol that tells it. On the way out a SampleState
// (sample_state.h) turns the engine's outputs into AnswerDeltas, and a Reply renders them: chat as
// OpenAI's chunks, another protocol as its own.
namespace fathom::api {

// How the tokens of an answer become what it says; shared by the samples of a prompt.
struct AnswerOptions {
  bool skip_special_tokens = true;
  bool keep_stop = false;  // no_stop_trim: what ended the answer, token or text, is part of it
  std::shared_ptr<const text::StopRules> stops;  // null: no text ends the answer
  std::vector<std::string> stop_patterns;        // the expressions of `stops` as they were written
  // With neither format all is content. Its `tools` are those of `tools` below.
  text::AnswerParserOptions parser;
  std::shared_ptr<const Json::Array> tools;  // null: none
  // The answer ends behind its first complete call (parallel_tool_calls: false).
  bool one_call = false;
  std::string rid;  // for the log
  // Whether the log has heard that an expression was given up: once for all samples. Null where
  // there are no expressions.
  std::shared_ptr<std::atomic_flag> told_given_up;

  // Whether the node process may end the answer before the engine does: then it has to see tokens
  // as they come.
  bool ends_by_text() const { return stops != nullptr || one_call; }
};

// One thing that an answer says next. Events of one kind and call that follow each other are
// joined.
struct AnswerEvent {
  using Kind = text::AnswerPiece::Kind;
  Kind kind = Kind::kContent;
  std::int32_t call = 0;  // ordinal of the call that it is about
  std::string text;       // thoughts, content, a call's name or more of its arguments
  std::string id;         // of the call, with kCallBegin: "call_" and 24 hexadecimal digits
};

// What one output of the engine adds to one sample's answer. The spans are parts of that output.
struct AnswerDelta {
  bool first = false;  // of its sample
  std::vector<AnswerEvent> events;
  // Those that belong to the answer: what follows its end is cut off.
  std::span<const wire::TokenId> tokens;
  std::span<const wire::PositionLogprobs> logprobs;  // of these tokens, when wanted
  std::span<const wire::PositionLogprobs> prompt_logprobs;
};

// What the deltas of an answer add up to.
struct WholeAnswer {
  struct ToolCall {
    std::string id;
    std::string name;
    std::string arguments;  // JSON, unless the answer was cut inside
  };
  std::string reasoning;
  std::string content;
  std::vector<ToolCall> calls;
  std::vector<wire::PositionLogprobs> logprobs;
  std::vector<wire::PositionLogprobs> prompt_logprobs;

  void add(const AnswerDelta& delta);
};

// A new call's id.
std::string tool_call_id();

}  // namespace fathom::api
