#include <gtest/gtest.h>

#include "oracle/golden_check.h"

// Exact arithmetic against outputs that an independent implementation computed in float32. Every
// bound here is the data's own: 1e-3 absolute (the page of each checkpoint).

namespace fathom::oracle {
namespace {

const std::filesystem::path kData = FATHOM_TEST_DATA;
const std::filesystem::path kTiny =
    std::filesystem::path(FATHOM_SOURCE_DIR) / "models" / "fathom-tiny";

TEST(Golden, MicroBf16EqualsTheReference) {
  expect_golden(check_prompts(kData / "micro-bf16", {7, 40, 90}, {}));
}

TEST(Golden, SlimFp8EqualsTheReference) {
  expect_golden(check_prompts(kData / "slim-fp8", {9, 64, 150}, {}));
}

// The expanded attention form is equal in algebra: the same bound holds.
TEST(Golden, TheExpandedFormEqualsTheReferenceToo) {
  test_support::RunnerOptions options;
  options.attention_form = config::AttentionForm::kExpanded;
  options.threads = 2;

  expect_golden(check_prompts(kData / "micro-bf16", {7, 40, 90}, options));
  expect_golden(check_prompts(kData / "slim-fp8", {9, 64, 150}, options));
}

TEST(Golden, FathomTinyEqualsTheReference) {
  test_support::RunnerOptions options;
  options.threads = 2;
  options.max_tokens = 1536;
  expect_golden(check_tiny(kTiny, {0, 1, 2, 3, 4, 5}, options));
}

}  // namespace
}  // namespace fathom::oracle
