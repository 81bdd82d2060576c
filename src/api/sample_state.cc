#include "api/sample_state.h"

#include <cstddef>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "base/log_bounds.h"

namespace fathom::api {

namespace {

using Kind = AnswerEvent::Kind;

bool needs_parser(const text::AnswerParserOptions& options) {
  return options.reasoning != text::ReasoningFormat::kNone ||
         options.tool_calls != text::ToolCallFormat::kNone;
}

// Appends to the last event when it goes on with it.
void add_event(std::vector<AnswerEvent>& events, Kind kind, std::int32_t call, std::string&& text) {
  const bool joins =
      kind == Kind::kReasoning || kind == Kind::kContent || kind == Kind::kCallArguments;
  if (joins && text.empty()) return;
  if (joins && !events.empty() && events.back().kind == kind && events.back().call == call) {
    events.back().text += text;
    return;
  }
  events.push_back({kind, call, std::move(text), {}});
}

}  // namespace

SampleState::SampleState(const text::Tokenizer* tokenizer,
                         std::shared_ptr<const AnswerOptions> options)
    : options_(std::move(options)) {
  if (tokenizer == nullptr) return;
  decoder_.emplace(*tokenizer, options_->skip_special_tokens);
  if (options_->stops != nullptr) stops_.emplace(options_->stops);
  if (needs_parser(options_->parser)) parser_.emplace(options_->parser);
}

void SampleState::take(const wire::TokenOutput& output, AnswerDelta& delta) {
  FATHOM_CHECK(!finished());
  delta.first = !started_;
  delta.events.clear();
  delta.prompt_logprobs = output.prompt_logprobs;
  started_ = true;
  prompt_tokens_ = output.prompt_tokens;
  cached_tokens_ = output.cached_tokens;
  drafts_ = output.drafts;
  retractions_ = output.retractions;

  const std::size_t count = output.tokens.size();
  const bool stopped = output.finish == wire::Finish::kStop;
  std::size_t taken = 0;
  while (taken < count && !finished()) {
    const bool ends = stopped && taken + 1 == count;
    if (parser_ && parser_->thinking()) ++reasoning_tokens_;
    if (!ends || options_->keep_stop) push_token(output.tokens[taken], delta);
    ++taken;
  }
  delta.tokens = std::span(output.tokens).first(taken);
  delta.logprobs = output.logprobs;
  if (taken < output.logprobs.size()) delta.logprobs = delta.logprobs.first(taken);
  generated_tokens_ = output.generated_tokens - static_cast<std::int32_t>(count - taken);
  if (finished() || output.finish == wire::Finish::kNone) return;

  finish_text(delta);
  if (finished()) return;
  finish_ = output.finish;
  error_ = output.error;
  if (stopped) matched_ = output.stop_token;
}

void SampleState::push_token(wire::TokenId id, AnswerDelta& delta) {
  if (!decoder_) return;
  decoded_.clear();
  decoder_->push(id, decoded_);
  if (!decoded_.empty()) push_text(delta);
}

// Takes `decoded_` through the stops.
void SampleState::push_text(AnswerDelta& delta) {
  if (!stops_) {
    std::swap(decoded_, shown_);
    tell(delta);
    return;
  }
  shown_.clear();
  const std::optional<text::StopMatch> found = stops_->push(decoded_, shown_);
  tell_given_up();
  tell(delta);
  if (found && !finished()) stop(*found, delta);
}

// Takes `shown_` through the parser.
void SampleState::tell(AnswerDelta& delta) {
  if (shown_.empty()) return;
  if (!parser_) {
    add_event(delta.events, Kind::kContent, 0, std::move(shown_));
    return;
  }
  pieces_.clear();
  parser_->push(shown_, pieces_);
  tell_pieces(delta);
}

void SampleState::tell_pieces(AnswerDelta& delta) {
  for (text::AnswerPiece& piece : pieces_) {
    add_event(delta.events, piece.kind, piece.call, std::move(piece.text));
    if (piece.kind == Kind::kCallBegin) {
      delta.events.back().id = tool_call_id();
      has_calls_ = true;
    }
    if (piece.kind == Kind::kCallEnd && options_->one_call) {
      finish_ = wire::Finish::kStop;
      return;
    }
  }
}

// The engine says that the answer is over: tells what was held back.
void SampleState::finish_text(AnswerDelta& delta) {
  if (!decoder_) return;
  decoded_.clear();
  decoder_->flush(decoded_);
  if (!decoded_.empty()) push_text(delta);
  if (finished()) return;
  if (stops_) {
    shown_.clear();
    const std::optional<text::StopMatch> found = stops_->finish(shown_);
    tell_given_up();
    tell(delta);
    if (found && !finished()) stop(*found, delta);
  }
  if (!finished()) finish_parser(delta);
}

void SampleState::tell_given_up() const {
  if (options_->told_given_up == nullptr || !stops_->gave_up()) return;
  if (options_->told_given_up->test_and_set()) return;
  log_warning("A stop_regex of request " + quoted_for_log(options_->rid) +
              " costs too much: it is not looked for any more");
}

void SampleState::finish_parser(AnswerDelta& delta) {
  if (!parser_) return;
  pieces_.clear();
  parser_->finish(pieces_);
  tell_pieces(delta);
}

void SampleState::stop(const text::StopMatch& match, AnswerDelta& delta) {
  finish_parser(delta);
  finish_ = wire::Finish::kStop;
  matched_ = match.is_regex ? options_->stop_patterns[match.index] : match.text;
}

std::string_view finish_name(wire::Finish finish) {
  switch (finish) {
    case wire::Finish::kStop:
      return "stop";
    case wire::Finish::kLength:
      return "length";
    case wire::Finish::kAbort:
      return "abort";
    case wire::Finish::kNone:
      break;
  }
  FATHOM_CHECK(false);
}

void append_matched(JsonWriter& writer, const MatchedStop& matched) {
  if (const auto* token = std::get_if<wire::TokenId>(&matched)) {
    writer.integer(*token);
  } else if (const auto* text = std::get_if<std::string>(&matched)) {
    writer.string(*text);
  } else {
    writer.null();
  }
}

void Usage::add(const SampleState& state, bool prompt) {
  completion_tokens += state.generated_tokens();
  reasoning_tokens += state.reasoning_tokens();
  if (!prompt) return;
  prompt_tokens += state.prompt_tokens();
  cached_tokens += state.cached_tokens();
}

void append_usage(std::string& out, const Usage& usage, bool cache_report, bool omit_nulls) {
  JsonWriter writer(out);
  writer.begin_object()
      .integer("prompt_tokens", usage.prompt_tokens)
      .integer("total_tokens", usage.prompt_tokens + usage.completion_tokens)
      .integer("completion_tokens", usage.completion_tokens);
  if (cache_report && usage.cached_tokens > 0) {
    writer.begin_object("prompt_tokens_details")
        .integer("cached_tokens", usage.cached_tokens)
        .end_object();
  } else if (!omit_nulls) {
    writer.null("prompt_tokens_details");
  }
  if (usage.reasoning_tokens > 0) {
    writer.begin_object("completion_tokens_details")
        .integer("reasoning_tokens", usage.reasoning_tokens)
        .end_object();
  }
  writer.integer("reasoning_tokens", usage.reasoning_tokens).end_object();
}

}  // namespace fathom::api
