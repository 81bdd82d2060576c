#include "sched/reserve.h"

#include <cstdint>
#include <random>

#include <gtest/gtest.h>

namespace fathom::sched {
namespace {

void decode(Reserve& reserve, int steps) {
  for (int i = 0; i < steps; ++i) reserve.on_decode();
}

TEST(Reserve, SinksToASeventhInSixHundredDecodeSteps) {
  Reserve reserve(0.7F);
  EXPECT_FLOAT_EQ(reserve.ratio(), 0.7F);

  decode(reserve, 300);
  EXPECT_NEAR(reserve.ratio(), (0.7 + 0.098) / 2, 1e-4);
  decode(reserve, 300);
  EXPECT_NEAR(reserve.ratio(), 0.098, 1e-4);
  decode(reserve, 1000);
  EXPECT_FLOAT_EQ(reserve.ratio(), 0.7F * 0.14F);
}

TEST(Reserve, RisesToWhatTheRunningRequestsHaveUsed) {
  Reserve reserve(0.7F);
  decode(reserve, 1000);

  reserve.on_retraction(/*running=*/5, /*generated=*/300, /*allowed=*/1000);

  EXPECT_FLOAT_EQ(reserve.ratio(), 0.4F);  // 20 tokens ahead for each
  decode(reserve, 1);
  EXPECT_LT(reserve.ratio(), 0.4F);
}

TEST(Reserve, ARetractionNeverLowersIt) {
  Reserve reserve(0.7F);

  reserve.on_retraction(5, 10, 100000);

  EXPECT_FLOAT_EQ(reserve.ratio(), 0.7F);
}

TEST(Reserve, NeverExceedsTheWhole) {
  Reserve reserve(0.7F);

  reserve.on_retraction(5, 95, 100);

  EXPECT_FLOAT_EQ(reserve.ratio(), 1);
}

TEST(Reserve, StartsAfreshWhenThereIsNothingToDo) {
  Reserve reserve(0.3F);
  decode(reserve, 700);

  reserve.on_idle();

  EXPECT_FLOAT_EQ(reserve.ratio(), 0.3F);
}

TEST(Reserve, ZeroStaysZeroUntilARetraction) {
  Reserve reserve(0);
  decode(reserve, 10);
  EXPECT_EQ(reserve.ratio(), 0);

  reserve.on_retraction(1, 80, 1000);

  EXPECT_FLOAT_EQ(reserve.ratio(), 0.1F);
}

TEST(Reserve, StaysBetweenItsLeastAndTheWhole) {
  std::mt19937 random(3);
  Reserve reserve(0.5F);
  for (int step = 0; step < 10000; ++step) {
    const float before = reserve.ratio();
    if (random() % 50 == 0) {
      const auto allowed = static_cast<std::int64_t>(1 + random() % 1000);
      const auto generated = static_cast<std::int64_t>(random()) % (allowed + 1);
      reserve.on_retraction(static_cast<std::int64_t>(random() % 8), generated, allowed);
      ASSERT_GE(reserve.ratio(), before) << step;
    } else {
      reserve.on_decode();
      ASSERT_LE(reserve.ratio(), before) << step;
    }
    ASSERT_GE(reserve.ratio(), 0.5F * 0.14F) << step;
    ASSERT_LE(reserve.ratio(), 1) << step;
  }
}

}  // namespace
}  // namespace fathom::sched
