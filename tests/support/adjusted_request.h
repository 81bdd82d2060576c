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

}  // namespace fathom::test_support
