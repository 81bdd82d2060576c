#include <limits>
#include <memory>
#include <utility>

#include "api/completion_reply.h"
#include "api/core.h"
#include "api/openai_fields.h"

namespace fathom::api {

namespace {

constexpr std::int32_t kDefaultMaxTokens = 16;

using Prompt = std::vector<wire::TokenId>;

Prompt encode(const Core& core, const std::string& text) {
  return core.tokenizer->encode(text, {.add_special_tokens = true});
}

// Prompts and what `echo` shows of them: the text as it was sent, of ids the text without special
// tokens; all of it also where the prompt is cut, as SGLang shows it.
struct Prompts {
  bool echo = false;
  std::vector<Prompt> ids;
  std::vector<std::string> echoes;  // none without `echo`
};

// One element of a list of prompts: a text or a list of ids.
std::optional<Refusal> read_prompt(const Core& core,
                                   const Json& value,
                                   const std::string& name,
                                   Prompts& out) {
  if (const std::string* text = value.as_string()) {
    out.ids.push_back(encode(core, *text));
    if (out.echo) out.echoes.push_back(*text);
    return std::nullopt;
  }
  Prompt& ids = out.ids.emplace_back();
  if (auto refusal = read_token_ids(value, name, core.options.vocab_size, ids)) return refusal;
  if (out.echo) out.echoes.push_back(core.tokenizer->decode(ids, /*skip_special_tokens=*/true));
  return std::nullopt;
}

// A text, a list of texts, a list of ids or a list of lists of ids.
std::optional<Refusal> read_prompts(const Core& core, const Json& body, Prompts& out) {
  const Json* value = body.find_set("prompt");
  if (value == nullptr) return Refusal::shape("prompt: is missing");
  const Json::Array* elements = value->as_array();
  if (elements == nullptr && !value->is_string()) {
    return Refusal::shape("prompt: " +
                          wrong_json_kind("a string, or an array of strings or token ids", *value));
  }
  if (!truthy(*value)) return Refusal::semantic("prompt: is empty");
  if (elements == nullptr || elements->front().is_number()) {
    return read_prompt(core, *value, "prompt", out);
  }
  if (elements->size() > core.options.max_samples) {
    return Refusal::semantic("prompt: has " + std::to_string(elements->size()) +
                             " elements, expected at most " +
                             std::to_string(core.options.max_samples));
  }
  for (std::size_t i = 0; i < elements->size(); ++i) {
    const std::string name = "prompt[" + std::to_string(i) + "]";
    if (auto refusal = read_prompt(core, (*elements)[i], name, out)) return refusal;
  }
  return std::nullopt;
}

}  // namespace

std::optional<Refusal> prepare_completion(Core& core, const Json& body, Prepared& out) {
  if (core.tokenizer == nullptr) return no_tokenizer();
  FieldReader fields(body);
  SamplingFields sampling =
      read_sampling(fields, SamplingDialect::kOpenAi, SamplingDefaults{}, core.options);
  const auto most = fields.integer("max_tokens", 1, std::numeric_limits<std::int32_t>::max());
  sampling.max_new_tokens = static_cast<std::int32_t>(most.value_or(kDefaultMaxTokens));
  sampling.request = read_request_fields(fields);
  AnswerFacts facts = read_openai_facts(fields, core, sampling.samples);
  const auto top = fields.integer("logprobs", 0, wire::kMaxTopLogprobs);
  facts.logprobs = top.has_value();
  facts.top_logprobs = top.value_or(0) > 0;
  Prompts prompts;
  prompts.echo = fields.boolean("echo", false);
  if (!fields.text("suffix", "").empty()) {
    fields.refuse(Refusal::semantic(
        "suffix: this model has no form of prompts with a text behind the gap; send none"));
  }
  if (fields.refusal()) return fields.refusal();

  if (auto refusal = read_prompts(core, body, prompts)) return refusal;
  const auto options = std::make_shared<const AnswerOptions>(sampling.answer_options(facts.id));
  for (Prompt& prompt : prompts.ids) {
    auto logprobs =
        answer_logprobs(facts.logprobs, static_cast<std::int32_t>(top.value_or(0)), prompt.size());
    if (prompts.echo) logprobs.prompt_start = 0;
    if (auto refusal = add_prompt(core, out, facts.id, std::move(prompt), sampling, logprobs,
                                  options->ends_by_text())) {
      return refusal;
    }
  }
  facts.prompts = static_cast<std::uint32_t>(prompts.ids.size());
  out.rids = {facts.id};
  out.stream = facts.stream;
  out.reply = std::make_unique<CompletionReply>(std::move(facts), *core.tokenizer, options,
                                                std::move(prompts.echoes));
  return std::nullopt;
}

}  // namespace fathom::api
