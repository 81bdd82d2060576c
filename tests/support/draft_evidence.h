#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "support/engine_runner.h"
#include "wire/messages.h"

// How much of some answers was drawn behind right drafts: what a comparison of answers with drafts
// and answers without is worth.
namespace fathom::test_support {

// What decided a token beside the model.
enum class DrawnWith : std::uint8_t {
  kGreedy,
  kSampled,
  kPenalties,
  kBiases,
  kLeastLength,  // while its end was forbidden
  kMask,         // of a constraint that holds from the first token on
  kSleptMask,    // of a constraint that had begun before the step …
  kWokenMask,    // … and of one that began with a draft of the same step
  kStops,        // tokens of the request's own end it
  kLogprobs,
  kCount
};

class DraftEvidence {
 public:
  static constexpr std::size_t kKinds = static_cast<std::size_t>(DrawnWith::kCount);
  static constexpr const char* kNames[kKinds] = {
      "greedy", "sampled",         "penalties",  "biases",      "least length",
      "mask",   "mask that slept", "mask woken", "stop tokens", "logprobs"};
  static constexpr std::size_t kMostDrafts = 8;

  // Whether an answer's steps can be told from its outputs: each has one.
  static bool counts(const wire::GenerateRequest& request) {
    return request.stream && request.stream_interval == 1;
  }

  // Nothing when !counts(request).
  void add(const wire::GenerateRequest& request,
           std::span<const wire::TokenId> answer,
           std::span<const EngineRunner::Told> told) {
    if (!counts(request)) return;
    std::size_t step_begin = 0;
    for (const EngineRunner::Told& output : told) {
      // All but a step's first token.
      for (std::size_t drafts = 1; drafts < output.tokens; ++drafts) {
        ++behind_[std::min(drafts, kMostDrafts)];
        note(request, answer, step_begin, step_begin + drafts);
      }
      step_begin += output.tokens;
    }
  }

  // Tokens drawn in the row behind exactly `drafts` right drafts of one step. Requires
  // 0 < drafts <= kMostDrafts.
  std::int64_t behind(std::size_t drafts) const { return behind_[drafts]; }
  // Tokens drawn behind right drafts, by what decided them.
  std::int64_t with(DrawnWith kind) const { return with_[static_cast<std::size_t>(kind)]; }

  std::string describe() const {
    std::string text;
    for (std::size_t i = 1; i <= kMostDrafts; ++i) {
      if (behind_[i] == 0) continue;
      text += "behind " + std::to_string(i) + ": " + std::to_string(behind_[i]) + ", ";
    }
    for (std::size_t i = 0; i < kKinds; ++i) {
      text += std::string(i > 0 ? ", " : "") + kNames[i] + ": " + std::to_string(with_[i]);
    }
    return text;
  }

 private:
  void note(const wire::GenerateRequest& request,
            std::span<const wire::TokenId> answer,
            std::size_t step_begin,
            std::size_t token) {
    const auto count = [this](DrawnWith kind, bool is) {
      with_[static_cast<std::size_t>(kind)] += is ? 1 : 0;
    };
    const wire::SamplingParams& sampling = request.sampling;
    count(DrawnWith::kGreedy, sampling.temperature == 0);
    count(DrawnWith::kSampled, sampling.temperature > 0);
    count(DrawnWith::kPenalties, sampling.frequency_penalty != 0 ||
                                     sampling.presence_penalty != 0 ||
                                     sampling.repetition_penalty != 1);
    count(DrawnWith::kBiases, !sampling.logit_bias.empty());
    count(DrawnWith::kLeastLength,
          !sampling.ignore_eos && static_cast<std::int32_t>(token) < sampling.min_new_tokens);
    count(DrawnWith::kStops, !sampling.stop_token_ids.empty() && !sampling.ignore_eos);
    count(DrawnWith::kLogprobs, request.logprobs.wanted);
    if (request.constraint.kind == wire::ConstraintKind::kNone) return;
    if (request.constraint.begins_after < 0) {
      count(DrawnWith::kMask, true);
      return;
    }
    const auto before = answer.first(token);
    const auto begin = std::find(before.begin(), before.end(), request.constraint.begins_after);
    if (begin == before.end()) return;
    const bool in_step = static_cast<std::size_t>(begin - before.begin()) >= step_begin;
    count(in_step ? DrawnWith::kWokenMask : DrawnWith::kSleptMask, true);
  }

  std::array<std::int64_t, kMostDrafts + 1> behind_ = {};
  std::array<std::int64_t, kKinds> with_ = {};
};

}  // namespace fathom::test_support
