#include "api/ollama_reply.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <string_view>
#include <utility>

#include "api/json_writer.h"
#include "base/clock.h"
#include "base/json.h"

namespace fathom::api {

namespace {

// A call's arguments as an object in one line: what was cut inside, or is none, is an empty one.
std::string arguments_of(const std::string& arguments) {
  const Result<Json> parsed = parse_json(arguments);
  return parsed.ok() && parsed->is_object() ? to_json(*parsed) : "{}";
}

}  // namespace

std::string rfc3339_now() {
  const double now = unix_time_s();
  const auto seconds = static_cast<std::time_t>(now);
  const auto micros = static_cast<int>((now - static_cast<double>(seconds)) * 1e6);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 40> text{};
  const std::size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::string out(text.data(), size);
  const std::string digits = std::to_string(1'000'000 + std::clamp(micros, 0, 999'999));
  return out + '.' + digits.substr(1) + 'Z';
}

OllamaReply::OllamaReply(OllamaFacts facts,
                         const text::Tokenizer& tokenizer,
                         const std::shared_ptr<const AnswerOptions>& options)
    : facts_(std::move(facts)), state_(&tokenizer, options) {}

bool OllamaReply::take(std::uint32_t /*index*/,
                       const wire::TokenOutput& output,
                       std::string& events) {
  state_.take(output, delta_);
  last_ns_ = now_ns();
  if (delta_.first) first_ns_ = last_ns_;
  answer_.add(delta_);
  complete_ += static_cast<std::size_t>(
      std::ranges::count(delta_.events, AnswerEvent::Kind::kCallEnd, &AnswerEvent::kind));
  const bool tells = !answer_.content.empty() || !answer_.reasoning.empty() || told_ < complete_;
  if (facts_.stream && tells) {
    append_object(events, complete_, false);
    events += '\n';
  }
  return state_.finished();
}

void OllamaReply::append_object(std::string& out, std::size_t calls, bool done) {
  JsonWriter writer(out);
  writer.begin_object().string("model", facts_.model).string("created_at", rfc3339_now());
  if (facts_.chat) writer.begin_object("message").string("role", "assistant");
  writer.string(facts_.chat ? "content" : "response", answer_.content);
  if (!answer_.reasoning.empty()) writer.string("thinking", answer_.reasoning);
  if (told_ < calls) {
    writer.begin_array("tool_calls");
    for (; told_ < calls; ++told_) {
      const WholeAnswer::ToolCall& call = answer_.calls[told_];
      writer.begin_object()
          .string("id", call.id)
          .begin_object("function")
          .integer("index", static_cast<std::int64_t>(told_))
          .string("name", call.name)
          .raw("arguments", arguments_of(call.arguments))
          .end_object()
          .end_object();
    }
    writer.end_array();
  }
  if (facts_.chat) writer.end_object();
  writer.boolean("done", done);
  if (done) append_done(writer);
  writer.end_object();
  answer_.content.clear();
  answer_.reasoning.clear();
}

void OllamaReply::append_done(JsonWriter& writer) const {
  writer.string("done_reason", facts_.load ? "load" : finish_name(state_.finish()));
  if (facts_.load) return;
  writer.integer("total_duration", last_ns_ - facts_.begun_ns)
      .integer("load_duration", 0)
      .integer("prompt_eval_count", state_.prompt_tokens())
      .integer("prompt_eval_duration", first_ns_ - facts_.begun_ns)
      .integer("eval_count", state_.generated_tokens())
      .integer("eval_duration", last_ns_ - first_ns_);
}

void OllamaReply::close(std::string& events) {
  append_object(events, answer_.calls.size(), true);
  events += '\n';
}

std::string OllamaReply::body() {
  std::string body;
  append_object(body, answer_.calls.size(), true);
  return body;
}

}  // namespace fathom::api
