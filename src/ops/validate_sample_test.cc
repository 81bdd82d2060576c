#include <limits>

#include <gtest/gtest.h>

#include "ops/sample.h"
#include "ops/validate_testing.h"

namespace fathom::ops {
namespace {

SampleArgs sample_args(std::int64_t rows, std::int64_t vocab) {
  SampleArgs args;
  args.logits = view(kF32, {rows, vocab});
  args.temperature = view(kF32, {rows});
  args.top_k = view(kI32, {rows});
  args.top_p = view(kF32, {rows});
  args.min_p = view(kF32, {rows});
  args.seed = view(kI32, {rows, 2});
  args.sample = view(kI32, {rows});
  args.position = view(kI32, {rows});
  args.token = view(kI32, {rows});
  return args;
}

TEST(ValidateSample, WantsOneSettingARow) {
  expect_messages<SampleArgs>(
      sample_args(4, 8),
      {{[](auto& a) { a.temperature = view(kF32, {5}); }, "temperature: rows is 5, was 4"},
       {[](auto& a) { a.top_k = view(kF32, {4}); }, "top_k is f32, wanted i32"},
       {[](auto& a) { a.top_p = view(kI32, {4}); }, "top_p is i32, wanted f32"},
       {[](auto& a) { a.min_p = {}; }, "min_p is absent"},
       {[](auto& a) {
          a.seed = view(kI32, {4, 3});
        },
        "seed: words is 3, was 2"},
       {[](auto& a) { a.sample = view(kI32, {3}); }, "sample: rows is 3, was 4"},
       {[](auto& a) { a.position = view(kI32, {3}); }, "position: rows is 3, was 4"},
       {[](auto& a) { a.token = view(kF32, {4}); }, "token is f32, wanted i32"}});
}

TEST(ValidateSample, TakesADraftARowAndThresholdsUpToOne) {
  SampleArgs right = sample_args(4, 8);
  right.draft = view(kI32, {4});
  right.accept_threshold_single = 0;
  expect_messages<SampleArgs>(
      right, {{[](auto& a) { a.draft = view(kI32, {3}); }, "draft: rows is 3, was 4"},
              {[](auto& a) { a.draft = view(kF32, {4}); }, "draft is f32, wanted i32"},
              {[](auto& a) { a.accept_threshold_single = -0.5F; },
               "accept_threshold_single is -0.500000, wanted 0 to 1"},
              {[](auto& a) { a.accept_threshold_acc = 1.5F; },
               "accept_threshold_acc is 1.500000, wanted 0 to 1"},
              {[](auto& a) { a.accept_threshold_acc = std::numeric_limits<float>::quiet_NaN(); },
               "accept_threshold_acc is nan, wanted 0 to 1"}});
}

TEST(ValidateSample, WantsAVocabularyThatItsSumHasRoomFor) {
  expect_messages<SampleArgs>(sample_args(1, kMaxSampledVocab),
                              {{[](auto& a) {
                                  a.logits = view(kF32, {1, kMaxSampledVocab + 1});
                                },
                                "logits: vocab is 8388609, wanted 1 to 8388608"},
                               {[](auto& a) {
                                  a.logits = view(kF32, {1, 0});
                                },
                                "logits: vocab is 0, wanted 1 to 8388608"},
                               {[](auto& a) {
                                  a.logits = view(kBF16, {1, 8});
                                },
                                "logits is bf16, wanted f32"}});
}

TEST(ValidateAdjustLogits, WantsAnEndMoreThanRowsAndMasksInPairs) {
  AdjustLogitsArgs right;
  right.logits = view(kF32, {8, 100});
  right.row = view(kI32, {3});
  right.penalties = view(kF32, {3, 3});
  right.first_entry = view(kI32, {4});
  right.token = view(kI32, {20});
  right.count = view(kI32, {20});
  right.bias = view(kF32, {20});

  expect_messages<AdjustLogitsArgs>(
      right, {{[](auto& a) {
                 a.mask_row = view(kI32, {3});
                 a.mask = view(kI32, {2, 4});
               },
               ""},
              {[](auto& a) {
                 a.logits = view(kBF16, {8, 100});
               },
               "logits is bf16, wanted f32"},
              {[](auto& a) {
                 a.penalties = view(kF32, {3, 2});
               },
               "penalties: penalties is 2, was 3"},
              {[](auto& a) { a.first_entry = view(kI32, {3}); }, "first_entry: ends is 3, was 4"},
              {[](auto& a) { a.bias = view(kF32, {19}); }, "bias: entries is 19, was 20"},
              {[](auto& a) { a.mask_row = view(kI32, {3}); }, "mask is absent"},
              {[](auto& a) {
                 a.mask_row = view(kI32, {3});
                 a.mask = view(kI32, {2, 3});
               },
               "mask: words is 3, was 4"}});
}

TEST(ValidateLogprobs, TakesTopAndAskedTokensInPairs) {
  LogprobsArgs right;
  right.logits = view(kF32, {4, 8});
  right.temperature = view(kF32, {4});
  right.token = view(kI32, {4});
  right.logprob = view(kF32, {4});

  expect_messages<LogprobsArgs>(
      right, {{[](auto& a) {
                 a.top_ids = view(kI32, {4, 8});
                 a.top_logprobs = view(kF32, {4, 8});
                 a.asked = view(kI32, {4, 20});
                 a.asked_logprobs = view(kF32, {4, 20});
               },
               ""},
              {[](auto& a) {
                 a.top_ids = view(kI32, {4, 2});
               },
               "top_logprobs is absent"},
              {[](auto& a) {
                 a.top_ids = view(kI32, {4, 9});
                 a.top_logprobs = view(kF32, {4, 9});
               },
               "top_ids: top is 9, wanted 1 to 8"},
              {[](auto& a) {
                 a.asked = view(kI32, {4, 2});
                 a.asked_logprobs = view(kF32, {4, 3});
               },
               "asked_logprobs: asked is 3, was 2"},
              {[](auto& a) { a.token = view(kI32, {3}); }, "token: rows is 3, was 4"},
              {[](auto& a) {
                 a.logits = view(kF32, {4, 0});
               },
               "logits: vocab is 0, wanted 1 or more"}});
}

}  // namespace
}  // namespace fathom::ops
