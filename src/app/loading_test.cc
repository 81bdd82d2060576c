#include "app/loading.h"

#include <gtest/gtest.h>

namespace fathom::app {
namespace {

TEST(EngineOptions, HaveTheCacheOfThePlan) {
  config::InstancePlan plan;
  plan.cache.prefix_cache = true;
  EXPECT_EQ(engine_options(plan).eviction, cache::Eviction::kLru);
  EXPECT_TRUE(engine_options(plan).prefix_cache);
  plan.cache.evicts_least_used = true;
  plan.cache.prefix_cache = false;
  EXPECT_EQ(engine_options(plan).eviction, cache::Eviction::kLfu);
  EXPECT_FALSE(engine_options(plan).prefix_cache);
}

TEST(EngineOptions, HaveTheDraftsOfThePlan) {
  config::InstancePlan plan;
  plan.speculation.steps = 3;
  plan.speculation.draft_tokens = 4;
  EXPECT_EQ(engine_options(plan).drafts, 0);
  plan.speculation.algorithm = "EAGLE";
  plan.speculation.accept_threshold_single = 0.25;
  plan.speculation.accept_threshold_acc = 0.5;
  EXPECT_EQ(engine_options(plan).drafts, 3);
  EXPECT_EQ(engine_options(plan).accept_threshold_single, 0.25F);
  EXPECT_EQ(engine_options(plan).accept_threshold_acc, 0.5F);
  EXPECT_FALSE(engine_options(plan).draft_switch.has_value());
  plan.speculation.off_switch = true;
  EXPECT_TRUE(engine_options(plan).draft_switch.has_value());
}

}  // namespace
}  // namespace fathom::app
