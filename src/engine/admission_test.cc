#include "engine/admission.h"

#include <string>

#include <gtest/gtest.h>

namespace fathom::engine {
namespace {

constexpr std::int32_t kVocab = 512;

wire::GenerateRequest request_with_logprobs() {
  wire::GenerateRequest request;
  request.prompt = {1, 2, 3};
  request.sampling.max_new_tokens = 4;
  request.logprobs.wanted = true;
  return request;
}

Status admit(const wire::GenerateRequest& request) {
  return admissible(request, kVocab, EngineOptions{}, /*pages=*/16);
}

void expect_refused(const wire::GenerateRequest& request, const std::string& message) {
  const Status refused = admit(request);

  EXPECT_EQ(refused.code(), Code::kInvalidArgument);
  EXPECT_EQ(refused.message(), message);
}

TEST(Admission, TakesAsManyLogprobsAsAStepHasRoomFor) {
  wire::GenerateRequest request = request_with_logprobs();
  request.logprobs.top = wire::kMaxTopLogprobs;
  request.logprobs.token_ids.assign(wire::kMaxAskedLogprobs, kVocab - 1);

  EXPECT_TRUE(admit(request).ok());
}

TEST(Admission, RefusesMoreLogprobsThanAStepHasRoomFor) {
  wire::GenerateRequest request = request_with_logprobs();
  request.logprobs.top = 129;
  expect_refused(request, "logprobs: the best 129 of each position are wanted, 0 to 128 may be");

  request.logprobs.top = -1;
  expect_refused(request, "logprobs: the best -1 of each position are wanted, 0 to 128 may be");

  request.logprobs.top = 0;
  request.logprobs.token_ids.assign(129, 7);
  expect_refused(request,
                 "logprobs: 129 tokens of each position are asked for, at most 128 may be");
}

TEST(Admission, RefusesToTellOfTokensThatDoNotExist) {
  wire::GenerateRequest request = request_with_logprobs();
  for (const wire::TokenId id : {-2, kVocab}) {
    request.logprobs.token_ids = {0, id};
    expect_refused(
        request, "logprobs: token id " + std::to_string(id) + " is outside the vocabulary of 512");
  }
}

}  // namespace
}  // namespace fathom::engine
