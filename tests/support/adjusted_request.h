#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>

#include "wire/messages.h"

namespace fathom::test_support {

// Gives half of the requests something to do to their logits: penalties, biases, a least length, a
// constraint of StepCompiler. `prompt` and `max_new_tokens` of the request are set already.
inline void adjust_at_random(std::mt19937& random,
                             std::int32_t vocab,
                             wire::GenerateRequest& request) {
  const auto below = [&](std::int32_t bound) {
    return static_cast<std::int32_t>(random() % static_cast<std::uint32_t>(bound));
  };
  const auto number = [&](float least, float most) {
    return least + (most - least) * static_cast<float>(below(1001)) / 1000;
  };
  wire::SamplingParams& sampling = request.sampling;
  if (below(2) == 0) return;
  if (below(2) == 0) sampling.frequency_penalty = number(-0.5F, 2);
  if (below(3) == 0) sampling.presence_penalty = number(-0.5F, 2);
  if (below(3) == 0) sampling.repetition_penalty = number(0.8F, 2);
  if (below(3) == 0) {
    for (std::int32_t id = below(20); id < vocab; id += 1 + below(60)) {
      sampling.logit_bias.push_back({id, number(-20, 5)});
    }
  }
  if (below(3) == 0) sampling.min_new_tokens = std::min(sampling.max_new_tokens, below(30));
  if (below(3) == 0) {
    request.constraint.kind = wire::ConstraintKind::kRegex;
    request.constraint.text = std::to_string(below(500));
    if (below(3) == 0) request.constraint.begins_after = below(vocab);
  }
}

// The same for answers of few tokens, ids below `drawable`, the last of which ends them: about a
// fifth of the drafts is right there, so much is drawn behind right ones. Most answers do not mind
// the end. StepGrammar leaves a choice with two classes; it must allow no token that cannot be
// drawn.
inline void adjust_narrowly(std::mt19937& random,
                            std::int32_t drawable,
                            wire::GenerateRequest& request) {
  const auto below = [&](std::int32_t bound) {
    return static_cast<std::int32_t>(random() % static_cast<std::uint32_t>(bound));
  };
  const auto number = [&](float least, float most) {
    return least + (most - least) * static_cast<float>(below(1001)) / 1000;
  };
  wire::SamplingParams& sampling = request.sampling;
  // Long answers that nothing ends outgrow what was kept free for them.
  const bool goes_on = sampling.max_new_tokens > 100 && below(2) == 0;
  sampling.ignore_eos = goes_on || below(5) != 0;
  sampling.stop_token_ids.clear();
  if (below(6) == 0) sampling.frequency_penalty = number(-0.1F, 0.1F);
  if (below(6) == 0) sampling.presence_penalty = number(-0.5F, 1);
  if (below(6) == 0) sampling.repetition_penalty = number(0.8F, 1.5F);
  if (below(4) == 0) {
    for (std::int32_t id = 0; id < drawable; ++id) {
      if (below(2) == 0) sampling.logit_bias.push_back({id, number(-2, 2)});
    }
  }
  if (!goes_on && below(3) == 0) {
    sampling.ignore_eos = false;
    sampling.min_new_tokens = std::min(sampling.max_new_tokens, below(60));
    if (below(2) == 0) sampling.stop_token_ids = {below(drawable)};
  }
  if (!goes_on && below(5) < 2) {
    request.constraint.kind = wire::ConstraintKind::kRegex;
    request.constraint.text = std::to_string(below(400));
    if (below(3) != 0) request.constraint.begins_after = below(drawable - 1);
  }
  for (wire::TokenId& id : request.logprobs.token_ids) id %= 2 * drawable;
  request.stream = below(8) != 0;
  if (below(8) != 0) request.stream_interval = 1;
}

}  // namespace fathom::test_support
