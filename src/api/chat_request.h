#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/answer.h"
#include "api/core.h"
#include "api/sampling_fields.h"
#include "base/json.h"

// A conversation that is to be continued, apart from the protocol that brings it. On the way in an
// endpoint reads its body into a ChatRequest; prepare_conversation() makes the engine's requests of
// it, and the AnswerOptions that the endpoint's Reply reads the answer with.
namespace fathom::api {

struct ToolChoice {
  enum class Kind : std::uint8_t {
    kAuto,      // the model decides
    kNone,      // calls are not looked for
    kRequired,  // at least one call
    kNamed,     // one call, of `name`
  };
  Kind kind = Kind::kAuto;
  std::string name;
};

struct ChatRequest {
  std::string id;  // the rid
  // OpenAI's form: role, content, tool_calls, tool_call_id, reasoning_content. Checked when they
  // are rendered.
  Json::Array messages;
  Json::Array tools;  // OpenAI's form: {"type":"function","function":{…}}
  ToolChoice tool_choice;
  // Members of the body that a chat template reads: chat_template_kwargs, reasoning_effort,
  // reasoning.
  Json template_fields = Json::object();
  bool parallel_tool_calls = true;
  SamplingFields sampling;  // with its constraint, which begins behind thoughts by itself
  bool thinking = false;    // the prompt opens thoughts
  bool continue_final_message = false;
  bool separate_reasoning = true;
  bool stream_reasoning = true;
  bool logprobs = false;
  std::int32_t top_logprobs = 0;
};

// Renders the conversation, checks its tools and lengths, and appends its requests to `out`, whose
// rids and reply are the caller's. `options` is what SampleState needs for their answers. A refusal
// names the message or tool by its index.
std::optional<Refusal> prepare_conversation(Core& core,
                                            ChatRequest request,
                                            Prepared& out,
                                            std::shared_ptr<const AnswerOptions>& options);

}  // namespace fathom::api
