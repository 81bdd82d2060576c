#include "api/chat_request.h"

#include <utility>

#include "api/chat_prompt.h"
#include "api/openai_fields.h"
#include "api/tool_fields.h"

namespace fathom::api {

namespace {

using ToolKind = ToolChoice::Kind;

bool must_call(const ToolChoice& choice) {
  return choice.kind == ToolKind::kRequired || choice.kind == ToolKind::kNamed;
}

// The parser of the answer: how it thinks and how it calls.
void set_parser(const ServiceOptions& service,
                const ChatRequest& request,
                const EncodedChat& prompt,
                AnswerOptions& options) {
  text::AnswerParserOptions& parser = options.parser;
  parser.reasoning = service.reasoning;
  parser.starts_thinking = prompt.in_thoughts;
  parser.separate_reasoning = request.separate_reasoning;
  parser.stream_reasoning = request.stream_reasoning;
  parser.forward_unknown_tools = service.forward_unknown_tools;
  // This one always begins in thoughts, unless they are over.
  if (parser.reasoning == text::ReasoningFormat::kDeepSeekR1 && prompt.thoughts_closed) {
    parser.reasoning = text::ReasoningFormat::kDeepSeekV3;
  }
  if (options.tools->empty() || request.tool_choice.kind == ToolKind::kNone) return;
  parser.tool_calls = service.tool_calls;
  parser.tools = options.tools.get();
  options.one_call = !request.parallel_tool_calls;
}

// What makes the model call where it has to, and call strict tools as their schemas want.
std::optional<Refusal> set_tool_constraint(const ChatRequest& request,
                                           AnswerOptions& options,
                                           wire::Constraint& constraint) {
  const bool must = must_call(request.tool_choice);
  const bool dsml = options.parser.tool_calls == text::ToolCallFormat::kDeepSeekV32;
  // Of two constraints the answer's own counts, as in SGLang.
  if (constraint.kind != wire::ConstraintKind::kNone) return std::nullopt;
  if (!must && !(dsml && any_strict(*options.tools))) return std::nullopt;
  Result<wire::Constraint> calls =
      dsml
          ? dsml_calls_constraint(request.tool_choice, *options.tools, request.parallel_tool_calls)
          : json_calls_constraint(request.tool_choice, *options.tools, request.parallel_tool_calls);
  if (!calls.ok()) return Refusal::semantic(calls.status().message());
  constraint = std::move(*calls);
  if (!dsml) {
    options.parser.tool_calls = text::ToolCallFormat::kJsonArray;
    options.parser.tools = options.tools.get();
  }
  return std::nullopt;
}

// A constraint sleeps until the thoughts are over.
std::optional<Refusal> place_constraint(const Core& core,
                                        const text::AnswerParserOptions& parser,
                                        wire::Constraint& constraint) {
  const bool thinks = parser.reasoning == text::ReasoningFormat::kDeepSeekR1 ||
                      (parser.reasoning != text::ReasoningFormat::kNone && parser.starts_thinking);
  if (constraint.kind == wire::ConstraintKind::kNone || !thinks) return std::nullopt;
  const std::optional<wire::TokenId> end = core.tokenizer->find_token("</think>");
  if (!end) {
    return Refusal::semantic(
        "the tokenizer has no token </think>, behind which the constraint would begin; ask "
        "without thinking");
  }
  constraint.begins_after = *end;
  return std::nullopt;
}

}  // namespace

std::optional<Refusal> prepare_conversation(Core& core,
                                            ChatRequest request,
                                            Prepared& out,
                                            std::shared_ptr<const AnswerOptions>& options) {
  auto answer = std::make_shared<AnswerOptions>(request.sampling.answer_options(request.id));
  if (const Status status = check_tools(request.tools); !status.ok()) {
    return Refusal::semantic(status.message());
  }
  EncodedChat prompt;
  if (auto refusal =
          encode_chat(*core.tokenizer, core.options.chat_template.get(), request, prompt))
    return refusal;
  Result<Json::Array> tools = all_tools(request);
  if (!tools.ok()) return Refusal::semantic(tools.status().message());
  answer->tools = std::make_shared<const Json::Array>(std::move(*tools));
  if (const Status status = check_tool_choice(request.tool_choice, *answer->tools); !status.ok()) {
    return Refusal::semantic(status.message());
  }

  set_parser(core.options, request, prompt, *answer);
  wire::Constraint& constraint = request.sampling.constraint;
  if (auto refusal = set_tool_constraint(request, *answer, constraint)) return refusal;
  if (auto refusal = place_constraint(core, answer->parser, constraint)) return refusal;
  // Markers of calls may be special tokens.
  if (answer->parser.tool_calls != text::ToolCallFormat::kNone) {
    answer->skip_special_tokens = false;
  }

  const auto logprobs =
      answer_logprobs(request.logprobs, request.top_logprobs, prompt.tokens.size());
  if (auto refusal = add_prompt(core, out, request.id, std::move(prompt.tokens), request.sampling,
                                logprobs, answer->ends_by_text())) {
    return refusal;
  }
  options = std::move(answer);
  return std::nullopt;
}

}  // namespace fathom::api
