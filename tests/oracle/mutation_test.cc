#include <string>

#include <gtest/gtest.h>

#include "oracle/golden_check.h"

// Each frequent mistake, built into the model behind a switch that only this program has, must be
// noticed by the comparison that golden_test makes. (Cache layouts and the bounds of the top-k are
// held by hand-computed offsets and poisoned scores in src/backend/cpu, power-of-two scales by the
// bytes of numerics_test.)

namespace fathom::oracle {
namespace {

struct Mistake {
  const char* name;
  model::Mutation mutation;
};

bool equals_the_reference(const GoldenReport& report) {
  return report.logits <= 1e-3 && report.hidden <= 1e-3 && report.draft_logits <= 1e-3 &&
         report.draft_hidden <= 1e-3 && report.wrong_positions == 0 && report.wrong_tokens == 0 &&
         report.wrong_drafts == 0;
}

GoldenReport check(model::Mutation mutation) {
  test_support::RunnerOptions options;
  options.mutation = mutation;
  return check_prompts(std::filesystem::path(FATHOM_TEST_DATA) / "slim-fp8", {150}, options);
}

class MutationTest : public ::testing::TestWithParam<Mistake> {};

TEST(Mutation, WithoutAMistakeTheReferenceIsMet) {
  EXPECT_TRUE(equals_the_reference(check(model::Mutation::kNone)));
}

TEST_P(MutationTest, IsNoticed) {
  const GoldenReport report = check(GetParam().mutation);

  EXPECT_FALSE(equals_the_reference(report)) << report.describe();
}

INSTANTIATE_TEST_SUITE_P(
    Mistakes,
    MutationTest,
    ::testing::Values(Mistake{"IndexerInterleavedRope", model::Mutation::kIndexerInterleavedRope},
                      Mistake{"IndexerRopeLast", model::Mutation::kIndexerRopeLast},
                      Mistake{"IndexerQueryBeforeNorm", model::Mutation::kIndexerQueryBeforeNorm},
                      Mistake{"IndexerKeyRmsNorm", model::Mutation::kIndexerKeyRmsNorm},
                      Mistake{"ScaleWithoutMscale", model::Mutation::kScaleWithoutMscale},
                      Mistake{"GateWeightsWithBias", model::Mutation::kGateWeightsWithBias},
                      Mistake{"GateWithoutNormalization",
                              model::Mutation::kGateWithoutNormalization},
                      Mistake{"SharedExpertScaled", model::Mutation::kSharedExpertScaled},
                      Mistake{"ScaleInverseDivides", model::Mutation::kScaleInverseDivides},
                      Mistake{"RaggedScaleRow", model::Mutation::kRaggedScaleRow},
                      Mistake{"OwnKeyHidden", model::Mutation::kOwnKeyHidden},
                      Mistake{"DraftHiddenFirst", model::Mutation::kDraftHiddenFirst},
                      Mistake{"DraftPreNormHidden", model::Mutation::kDraftPreNormHidden},
                      Mistake{"DraftShiftedPositions", model::Mutation::kDraftShiftedPositions},
                      Mistake{"DraftRecyclesPreNorm", model::Mutation::kDraftRecyclesPreNorm},
                      Mistake{"DraftMainNorm", model::Mutation::kDraftMainNorm}),
    [](const ::testing::TestParamInfo<Mistake>& mistake) {
      return std::string(mistake.param.name);
    });

}  // namespace
}  // namespace fathom::oracle
