#include "engine/admission.h"

#include <algorithm>
#include <set>
#include <string>

#include "config/kv_layout.h"
#include "engine/adjustments.h"

namespace fathom::engine {

namespace {

// What is wrong with the log-probabilities that a request wants, but for tokens that do not exist.
Status check_logprobs(const wire::LogprobParams& logprobs) {
  if (logprobs.top < 0 || logprobs.top > wire::kMaxTopLogprobs) {
    return invalid_argument("logprobs: the best " + std::to_string(logprobs.top) +
                            " of each position are wanted, 0 to " +
                            std::to_string(wire::kMaxTopLogprobs) + " may be");
  }
  if (logprobs.token_ids.size() > static_cast<std::size_t>(wire::kMaxAskedLogprobs)) {
    return invalid_argument("logprobs: " + std::to_string(logprobs.token_ids.size()) +
                            " tokens of each position are asked for, at most " +
                            std::to_string(wire::kMaxAskedLogprobs) + " may be");
  }
  return {};
}

// Tokens that a prompt leaves for the answer at least.
constexpr std::int32_t kLeastAnswer = 5;

}  // namespace

std::int32_t max_request_tokens(const EngineOptions& options, std::int32_t pages) {
  const std::int64_t pool = std::int64_t{pages} * config::kPageTokens;
  return static_cast<std::int32_t>(std::min<std::int64_t>(options.context_tokens, pool)) - 1;
}

std::int32_t max_prompt_tokens(const EngineOptions& options, std::int32_t pages) {
  return max_request_tokens(options, pages) - kLeastAnswer;
}

std::vector<wire::TokenId> end_tokens_of(const wire::GenerateRequest& request,
                                         std::int32_t vocab_size,
                                         const EngineOptions& options) {
  const wire::SamplingParams& sampling = request.sampling;
  std::set<wire::TokenId> ends;
  if (!sampling.ignore_eos) {
    ends.insert(sampling.stop_token_ids.begin(), sampling.stop_token_ids.end());
  }
  // A constraint ends by the same tokens as the others.
  if (!sampling.ignore_eos || request.constraint.kind != wire::ConstraintKind::kNone) {
    ends.insert(options.end_tokens.begin(), options.end_tokens.end());
  }
  std::erase_if(ends, [vocab_size](wire::TokenId id) { return id < 0 || id >= vocab_size; });
  return {ends.begin(), ends.end()};
}

Status admissible(const wire::GenerateRequest& request,
                  std::int32_t vocab_size,
                  const EngineOptions& options,
                  std::int32_t pages) {
  if (request.prompt.empty()) {
    return invalid_argument("the prompt is empty, expected at least one token");
  }
  const std::int32_t limit = max_prompt_tokens(options, pages);
  const auto length = static_cast<std::int64_t>(request.prompt.size());
  if (length > limit) {
    return invalid_argument("the prompt has " + std::to_string(length) +
                            " tokens; the context and the cache of this instance allow " +
                            std::to_string(limit));
  }
  const auto outside = [vocab_size](wire::TokenId id) { return id < 0 || id >= vocab_size; };
  const auto refuse = [vocab_size](wire::TokenId id, const std::string& where) {
    return invalid_argument(where + "token id " + std::to_string(id) +
                            " is outside the vocabulary of " + std::to_string(vocab_size));
  };
  for (const wire::TokenId id : request.prompt) {
    if (outside(id)) return refuse(id, "");
  }
  const wire::SamplingParams& sampling = request.sampling;
  for (const wire::TokenBias& each : sampling.logit_bias) {
    if (outside(each.id)) return refuse(each.id, "logit_bias: ");
  }
  if (request.logprobs.wanted) {
    FATHOM_RETURN_IF_ERROR(check_logprobs(request.logprobs));
    for (const wire::TokenId id : request.logprobs.token_ids) {
      if (outside(id)) return refuse(id, "logprobs: ");
    }
  }
  const std::size_t ends =
      sampling.min_new_tokens > 0 ? end_tokens_of(request, vocab_size, options).size() : 0;
  if (sampling.logit_bias.size() + ends > kMaxNamedTokens) {
    return invalid_argument("logit_bias names " + std::to_string(sampling.logit_bias.size()) +
                            " tokens and min_tokens " + std::to_string(ends) +
                            "; together they may name " + std::to_string(kMaxNamedTokens));
  }
  return {};
}

}  // namespace fathom::engine
