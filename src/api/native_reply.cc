#include "api/native_reply.h"

#include <utility>

#include "api/json_writer.h"
#include "api/logprob_text.h"
#include "base/clock.h"
#include "base/json.h"

namespace fathom::api {

namespace {

// Appends what stands between the quotes of a JSON string.
void append_escaped(std::string& out, const std::string& text) {
  if (text.empty()) return;
  const std::size_t start = out.size();
  append_json_string(out, text);
  out.erase(start, 1);
  out.pop_back();
}

void append_list(std::string& out, std::string_view name, const std::string& elements) {
  out += ",\"";
  out += name;
  out += "\":[";
  out += elements;
  out += ']';
}

void append_finish_reason(std::string& out, const SampleState& state) {
  JsonWriter writer(out);
  if (!state.finished()) {
    writer.null();
    return;
  }
  writer.begin_object().string("type", finish_name(state.finish()));
  if (state.finish() == wire::Finish::kStop) {
    append_matched(writer.key("matched"), state.matched());
  }
  if (state.finish() == wire::Finish::kLength) writer.integer("length", state.generated_tokens());
  if (state.finish() == wire::Finish::kAbort) {
    const std::string& why = state.error().message();
    writer.string("message", why.empty() ? "aborted" : why).null("status_code").null("err_type");
  }
  writer.end_object();
}

}  // namespace

NativeReply::NativeReply(NativeFacts facts, const text::Tokenizer* tokenizer)
    : facts_(std::move(facts)), tokenizer_(tokenizer) {
  samples_.reserve(facts_.prompts.size() * facts_.samples);
  for (const NativePrompt& prompt : facts_.prompts) {
    for (std::uint32_t sample = 0; sample < facts_.samples; ++sample) {
      samples_.push_back({SampleState(tokenizer, prompt.options), {}, {}, {}, {}});
    }
  }
}

void NativeReply::append_lists(Lists& lists,
                               const NativePrompt& prompt,
                               std::span<const wire::PositionLogprobs> positions) const {
  if (!prompt.logprobs || positions.empty()) return;
  const text::Tokenizer* texts = prompt.text_in_logprobs ? tokenizer_ : nullptr;
  append_native_logprobs(lists.tokens, texts, positions);
  if (prompt.top_logprobs) append_native_top_logprobs(lists.top, texts, positions);
  if (prompt.asked_logprobs) append_native_asked_logprobs(lists.asked, texts, positions);
}

bool NativeReply::take(std::uint32_t index, const wire::TokenOutput& output, std::string& events) {
  Sample& sample = samples_[index];
  const NativePrompt& prompt = prompt_of(index);
  sample.state.take(output, delta_);
  for (const AnswerEvent& event : delta_.events) append_escaped(sample.text, event.text);
  for (const wire::TokenId id : delta_.tokens) {
    if (!sample.output_ids.empty()) sample.output_ids += ',';
    append_integer(sample.output_ids, id);
  }
  append_lists(sample.input, prompt, delta_.prompt_logprobs);
  append_lists(sample.output, prompt, delta_.logprobs);
  const bool over = sample.state.finished();
  if (!facts_.stream) return over;

  events += "data: ";
  append_answer(events, index);
  events += "\n\n";
  if (!facts_.incremental) return over;
  sample.text.clear();
  sample.output_ids.clear();
  sample.input = {};
  sample.output = {};
  return over;
}

void NativeReply::append_answer(std::string& out, std::uint32_t index) const {
  const Sample& sample = samples_[index];
  out += '{';
  if (tokenizer_ != nullptr) {
    out += "\"text\":\"";
    out += sample.text;
    out += "\",";
  }
  out += "\"output_ids\":[";
  out += sample.output_ids;
  out += "],\"meta_info\":";
  append_meta(out, index);
  if (facts_.stream && facts_.batch) {
    out += ",\"index\":";
    append_integer(out, index);
  }
  out += '}';
}

void NativeReply::append_drafts(std::string& out, const SampleState& state) const {
  const wire::DraftCounts& drafts = state.drafts();
  const auto steps = static_cast<double>(drafts.steps);
  const auto verified = static_cast<double>(drafts.drafts);
  out += ",\"spec_accept_rate\":";
  JsonWriter(out).real(verified > 0 ? static_cast<double>(drafts.accepted) / verified : 0);
  out += ",\"spec_accept_length\":";
  JsonWriter(out).real(steps > 0 ? static_cast<double>(state.generated_tokens()) / steps : 0);
  out += ",\"spec_accept_token_num\":";
  append_integer(out, drafts.accepted);
  out += ",\"spec_draft_token_num\":";
  append_integer(out, drafts.drafts);
  out += ",\"spec_verify_ct\":";
  append_integer(out, drafts.steps);
}

void NativeReply::append_meta(std::string& out, std::uint32_t index) const {
  const Sample& sample = samples_[index];
  const NativePrompt& prompt = prompt_of(index);
  const SampleState& state = sample.state;
  out += "{\"id\":";
  std::string id = prompt.rid;
  if (facts_.samples > 1) id += "_" + std::to_string(index % facts_.samples);
  append_json_string(out, id);
  out += ",\"finish_reason\":";
  append_finish_reason(out, state);
  out += ",\"prompt_tokens\":";
  append_integer(out, state.prompt_tokens());
  out += ",\"weight_version\":";
  append_json_string(out, facts_.weight_version);
  out += ",\"total_retractions\":";
  append_integer(out, state.retractions());
  if (prompt.logprobs) {
    append_list(out, "input_token_logprobs", sample.input.tokens);
    append_list(out, "output_token_logprobs", sample.output.tokens);
    if (prompt.top_logprobs) {
      append_list(out, "input_top_logprobs", sample.input.top);
      append_list(out, "output_top_logprobs", sample.output.top);
    }
    if (prompt.asked_logprobs) {
      append_list(out, "input_token_ids_logprobs", sample.input.asked);
      append_list(out, "output_token_ids_logprobs", sample.output.asked);
    }
  }
  out += ",\"completion_tokens\":";
  append_integer(out, state.generated_tokens());
  out += ",\"cached_tokens\":";
  append_integer(out, state.cached_tokens());
  if (state.finished()) {
    if (facts_.draft_tokens > 0) append_drafts(out, state);
    out += ",\"e2e_latency\":";
    JsonWriter(out).real(static_cast<double>(now_ns() - facts_.received_ns) * 1e-9);
  }
  out += '}';
}

void NativeReply::close(std::string& events) { events += kDoneEvent; }

std::string NativeReply::body() {
  std::string body;
  if (!facts_.batch) {
    append_answer(body, 0);
    return body;
  }
  body += '[';
  for (std::uint32_t i = 0; i < samples_.size(); ++i) {
    if (i > 0) body += ',';
    append_answer(body, i);
  }
  body += ']';
  return body;
}

}  // namespace fathom::api
