#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>

#include "wire/messages.h"

namespace fathom::test_support {

// Numbers of a generator: each call takes one.
class RandomChoice {
 public:
  explicit RandomChoice(std::mt19937& random) : random_(&random) {}
  std::int32_t below(std::int32_t bound) {
    return static_cast<std::int32_t>((*random_)() % static_cast<std::uint32_t>(bound));
  }
  float number(float least, float most) {
    return least + (most - least) * static_cast<float>(below(1001)) / 1000;
  }

 private:
  std::mt19937* random_;
};

// Gives half of the requests something to do to their logits: penalties, biases, a least length, a
// constraint of StepCompiler. `prompt` and `max_new_tokens` of the request are set already.
inline void adjust_at_random(std::mt19937& random,
                             std::int32_t vocab,
                             wire::GenerateRequest& request) {
  RandomChoice choose(random);
  wire::SamplingParams& sampling = request.sampling;
  if (choose.below(2) == 0) return;
  if (choose.below(2) == 0) sampling.frequency_penalty = choose.number(-0.5F, 2);
  if (choose.below(3) == 0) sampling.presence_penalty = choose.number(-0.5F, 2);
  if (choose.below(3) == 0) sampling.repetition_penalty = choose.number(0.8F, 2);
  if (choose.below(3) == 0) {
    for (std::int32_t id = choose.below(20); id < vocab; id += 1 + choose.below(60)) {
      sampling.logit_bias.push_back({id, choose.number(-20, 5)});
    }
  }
  if (choose.below(3) == 0)
    sampling.min_new_tokens = std::min(sampling.max_new_tokens, choose.below(30));
  if (choose.below(3) == 0) {
    request.constraint.kind = wire::ConstraintKind::kRegex;
    request.constraint.text = std::to_string(choose.below(500));
    if (choose.below(3) == 0) request.constraint.begins_after = choose.below(vocab);
  }
}

// The same for answers of few tokens, ids below `drawable`, the last of which ends them: about a
// fifth of the drafts is right there, so much is drawn behind right ones. Most answers do not mind
// the end. The constraint's StepCompiler needs `drawable` as its vocabulary, and two classes, so
// that a choice is left.
inline void adjust_narrowly(std::mt19937& random,
                            std::int32_t drawable,
                            wire::GenerateRequest& request) {
  RandomChoice choose(random);
  wire::SamplingParams& sampling = request.sampling;
  // Long answers that nothing ends outgrow what was kept free for them.
  const bool goes_on = sampling.max_new_tokens > 100 && choose.below(2) == 0;
  sampling.ignore_eos = goes_on || choose.below(5) != 0;
  sampling.stop_token_ids.clear();
  if (choose.below(6) == 0) sampling.frequency_penalty = choose.number(-0.1F, 0.1F);
  if (choose.below(6) == 0) sampling.presence_penalty = choose.number(-0.5F, 1);
  if (choose.below(6) == 0) sampling.repetition_penalty = choose.number(0.8F, 1.5F);
  if (choose.below(4) == 0) {
    for (std::int32_t id = 0; id < drawable; ++id) {
      if (choose.below(2) == 0) sampling.logit_bias.push_back({id, choose.number(-2, 2)});
    }
  }
  if (!goes_on && choose.below(3) == 0) {
    sampling.ignore_eos = false;
    sampling.min_new_tokens = std::min(sampling.max_new_tokens, choose.below(60));
    if (choose.below(2) == 0) sampling.stop_token_ids = {choose.below(drawable)};
  }
  if (!goes_on && choose.below(5) < 2) {
    request.constraint.kind = wire::ConstraintKind::kRegex;
    request.constraint.text = std::to_string(choose.below(400));
    if (choose.below(3) != 0) request.constraint.begins_after = choose.below(drawable - 1);
  }
  for (wire::TokenId& id : request.logprobs.token_ids) id %= 2 * drawable;
  request.stream = choose.below(8) != 0;
  if (choose.below(8) != 0) request.stream_interval = 1;
}

}  // namespace fathom::test_support
