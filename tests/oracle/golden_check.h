#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "support/model_runner.h"

namespace fathom::oracle {

// The farthest that a model came from the reference outputs of one checkpoint folder.
struct GoldenReport {
  double logits = 0;  // largest absolute differences
  double hidden = 0;
  double draft_logits = 0;
  double draft_hidden = 0;
  int wrong_positions = 0;  // rows whose selected positions differ
  int wrong_tokens = 0;     // greedy tokens that differ
  int wrong_drafts = 0;     // draft tokens that differ (fathom-tiny)
  int compared_tokens = 0;
  int compared_rows = 0;  // of selected positions

  std::string describe() const;
};

// micro-bf16 and slim-fp8: the prompts of these lengths in `folder`/golden.safetensors, every
// position (the page of the data says what the file holds).
GoldenReport check_prompts(const std::filesystem::path& folder,
                           const std::vector<int>& lengths,
                           const test_support::RunnerOptions& options);

// fathom-tiny: the numbered prompts, last positions, 32 greedy and draft tokens. Tokens count only
// where the margin exceeds 2e-3; positions whose reference score lies within 2e-5 of the boundary
// may differ.
GoldenReport check_tiny(const std::filesystem::path& folder,
                        const std::vector<int>& prompts,
                        const test_support::RunnerOptions& options);

// Expects that a report stays within the bounds of the data's pages: 1e-3 absolute, and no choice
// that differs.
void expect_golden(const GoldenReport& report);

}  // namespace fathom::oracle
