#include <algorithm>
#include <limits>
#include <utility>
#include <variant>

#include "base/clock.h"
#include "engine/admission.h"
#include "engine/constraint.h"
#include "engine/engine_state.h"

// Requests from their arrival to their last output.
namespace fathom::engine {

void Engine::State::take(std::vector<wire::ToEngine> messages) {
  for (wire::ToEngine& message : messages) {
    if (auto* request = std::get_if<wire::GenerateRequest>(&message)) {
      accept(std::move(*request));
    } else if (const auto* abort = std::get_if<wire::AbortRequest>(&message)) {
      finish(abort->id, wire::Finish::kAbort, Status(Code::kCancelled, "the request was aborted"),
             abort->answer_tokens);
    } else {
      pages.forget();
    }
  }
}

void Engine::State::accept(wire::GenerateRequest request) {
  const wire::RequestId id = request.id;
  FATHOM_CHECK(!sequences.contains(id));
  Status status = admissible(request, config.vocab_size, options, pages.capacity());
  auto made = std::make_shared<Sequence>();
  Sequence& sequence = *made;
  sequence.received_ns = now_ns();
  sequence.prompt_tokens = static_cast<std::int32_t>(request.prompt.size());
  const std::int32_t limit = max_request_tokens(options, pages.capacity());
  sequence.max_new_tokens = std::clamp(request.sampling.max_new_tokens, 1,
                                       std::max(1, limit - sequence.prompt_tokens - 1));
  if (request.logprobs.wanted && request.logprobs.prompt_start == 0 && status.ok()) {
    sequence.prompt_logprobs.push_back(
        {request.prompt.front(), std::numeric_limits<float>::quiet_NaN(), {}, {}});
  }
  if (status.ok())
    sequence.adjustments =
        Adjustments(request.sampling, end_tokens_of(request, config.vocab_size, options));
  sequence.tokens = std::move(request.prompt);
  sequence.request = std::move(request);
  sequences.emplace(id, made);
  if (status.ok()) status = ask_for_constraint(options.compiler, wake, sequence);
  if (sequence.compilation != nullptr) compiling.push_back(id);
  if (sequence.compilation == nullptr) sequence.times.queued_ns = 0;
  if (!status.ok()) finish(id, wire::Finish::kAbort, status);
}

void Engine::State::take_constraints() {
  std::erase_if(compiling, [this](wire::RequestId id) {
    const auto unfinished = sequences.find(id);
    if (unfinished == sequences.end()) return true;  // it was aborted, or its time was up
    if (!unfinished->second->compilation->done()) return false;
    unfinished->second->times.queued_ns = now_ns() - unfinished->second->received_ns;
    const Status status = take_constraint(*unfinished->second);
    if (!status.ok()) finish(id, wire::Finish::kAbort, status);
    return true;
  });
}

std::int64_t Engine::State::first_deadline() const {
  std::int64_t first = 0;
  for (const auto& [id, sequence] : sequences) {
    const std::int64_t deadline = sequence->request.deadline_ns;
    if (deadline != 0 && (first == 0 || deadline < first)) first = deadline;
  }
  return first;
}

void Engine::State::expire() {
  const std::int64_t now = now_ns();
  std::vector<wire::RequestId> late;
  for (const auto& [id, sequence] : sequences) {
    const std::int64_t deadline = sequence->request.deadline_ns;
    if (deadline != 0 && deadline <= now) late.push_back(id);
  }
  for (const wire::RequestId id : late) {
    finish(id, wire::Finish::kAbort,
           Status(Code::kDeadlineExceeded, "the request's deadline has passed"));
  }
}

void Engine::State::abort_all(const Status& why) {
  while (!sequences.empty()) finish(sequences.begin()->first, wire::Finish::kAbort, why);
}

void Engine::State::let_go(Sequence& sequence, std::int32_t tokens) {
  pages.offer(sequence, tokens);
  pages.release(sequence);
  sequence.drafts.clear();
  if (sequence.slot >= 0) free_slots.push_back(sequence.slot);
  sequence.slot = -1;
}

void Engine::State::publish(Sequence& sequence, wire::Finish finish, const Status& error) {
  wire::TokenOutput output;
  output.id = sequence.request.id;
  const auto told_end = sequence.tokens.end() - sequence.pending;
  output.tokens.assign(told_end - sequence.unpublished, told_end);
  output.prompt_logprobs = std::exchange(sequence.prompt_logprobs, {});
  output.logprobs = std::exchange(sequence.logprobs, {});
  output.finish = finish;
  if (finish == wire::Finish::kStop) output.stop_token = sequence.last_told();
  output.error = error;
  output.prompt_tokens = sequence.prompt_tokens;
  output.generated_tokens = sequence.told();
  output.cached_tokens = std::max(0, sequence.cached_tokens);
  output.retractions = sequence.retractions;
  output.times = sequence.times;
  output.drafts = sequence.draft_counts;
  output.times.told_ns = now_ns() - sequence.received_ns;
  sequence.unpublished = 0;
  outputs.push_back(std::move(output));
}

void Engine::State::finish(wire::RequestId id,
                           wire::Finish finish,
                           const Status& error,
                           std::int32_t answer_tokens) {
  const auto unfinished = sequences.find(id);
  if (unfinished == sequences.end()) return;  // an abort that came after the end
  Sequence& sequence = *unfinished->second;
  publish(sequence, finish, error);
  // A step under way may still write to its pages. Whoever gets them next writes in a later step,
  // thus after it.
  if (answer_tokens >= 0) {
    let_go(sequence, sequence.prompt_tokens + answer_tokens);
  } else {
    let_go(sequence);
  }
  sequence.ended = true;
  sequences.erase(unfinished);
}

bool Engine::State::ends(const Sequence& sequence, wire::TokenId token) const {
  const wire::SamplingParams& sampling = sequence.request.sampling;
  if (sampling.ignore_eos) return false;
  const auto among = [token](const std::vector<wire::TokenId>& ids) {
    return std::find(ids.begin(), ids.end(), token) != ids.end();
  };
  return among(options.end_tokens) || among(sampling.stop_token_ids);
}

wire::Finish Engine::State::finished(const Sequence& sequence) const {
  if (ends(sequence, sequence.last_told()) || constraint_ends(sequence)) return wire::Finish::kStop;
  if (sequence.told() >= sequence.max_new_tokens) return wire::Finish::kLength;
  return wire::Finish::kNone;
}

void Engine::State::record(const Work& done, WorkResult result) {
  const auto unfinished = sequences.find(done.sequence->request.id);
  // It ended while this step was under way: the step before had drawn its last token.
  if (unfinished == sequences.end()) return;
  Sequence& sequence = *unfinished->second;
  const std::size_t told = result.logprobs.size() - result.tokens.size();
  if (sequence.request.logprobs.wanted) {
    for (std::size_t i = 0; i < told; ++i) {
      sequence.prompt_logprobs.push_back(std::move(result.logprobs[i]));
    }
  }
  if (!done.draws) return;
  if (sequence.request.sampling.max_new_tokens == 0) {  // the prompt's log-probabilities alone
    finish(sequence.request.id, wire::Finish::kLength, {});
    return;
  }
  if (options.drafts > 0 && done.decodes) {
    ++sequence.draft_counts.steps;
    sequence.draft_counts.drafts += done.drafts;
    sequence.draft_counts.accepted += std::ssize(result.tokens) - 1;
    account.decoded(done.drafts, std::ssize(result.tokens) - 1);
  }
  sequence.drafts = std::move(result.drafts);
  for (std::size_t i = 0; i < result.tokens.size() && !sequence.ended; ++i) {
    if (sequence.request.logprobs.wanted) {
      sequence.logprobs.push_back(std::move(result.logprobs[told + i]));
    }
    take_token(sequence, result.tokens[i], /*behind_draft=*/i > 0);
  }
  // So many drafts were right that the step under way draws its last token.
  if (!sequence.ended && sequence.running() && sequence.drawn_out()) let_go(sequence);
}

void Engine::State::take_token(Sequence& sequence, wire::TokenId token, bool behind_draft) {
  if (behind_draft) {
    sequence.tell_more(token);
  } else {
    sequence.tell(token);
  }
  if (sequence.told() == 1) sequence.times.first_token_ns = now_ns() - sequence.received_ns;
  ++load.generated_tokens;
  if (const Status status = advance_constraint(sequence, token); !status.ok()) {
    finish(sequence.request.id, wire::Finish::kAbort, status);
    return;
  }
  const wire::Finish end = finished(sequence);
  if (end != wire::Finish::kNone) {
    finish(sequence.request.id, end, {});
  } else if (sequence.request.stream &&
             (sequence.told() == 1 || sequence.unpublished >= sequence.request.stream_interval)) {
    publish(sequence, wire::Finish::kNone, {});
  }
}

}  // namespace fathom::engine
