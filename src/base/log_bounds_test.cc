#include "base/log_bounds.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

TEST(LogBounds, LongNamesAreCutBetweenCharacters) {
  EXPECT_EQ(quoted_for_log("a\"b\n"), R"("a\"b\n")");
  EXPECT_EQ(quoted_for_log("abcd", 4), R"("abcd")");
  EXPECT_EQ(quoted_for_log("abcde", 4), R"("abcd"…)");
  EXPECT_EQ(quoted_for_log("aé€x", 5), R"("aé"…)");
  EXPECT_EQ(quoted_for_log(std::string(8, '\x80'), 4), R"(""…)");
}

TEST(LogBounds, ARateLetsSoManyThroughAndCountsTheRest) {
  LogRate rate(/*lines=*/2, /*interval_ns=*/100);
  EXPECT_EQ(rate.take(1000), 0);
  EXPECT_EQ(rate.take(1001), 0);
  EXPECT_EQ(rate.take(1002), std::nullopt);
  EXPECT_EQ(rate.take(1099), std::nullopt);
  EXPECT_EQ(rate.take(1100), 2);
  EXPECT_EQ(rate.take(1150), 0);
  EXPECT_EQ(rate.take(1199), std::nullopt);
  EXPECT_EQ(rate.take(5000), 1);
}

TEST(LogBounds, ALineTellsHowManyWereLeftOut) {
  LogRate rate(/*lines=*/1, /*interval_ns=*/0);
  LogRate closed(/*lines=*/0, /*interval_ns=*/1'000'000'000);
  testing::internal::CaptureStderr();
  log_warning(rate, "one");
  log_warning(rate, "two");
  log_warning(closed, "three");
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("] one\n"), std::string::npos) << log;
  EXPECT_NE(log.find("] two\n"), std::string::npos) << log;
  EXPECT_EQ(log.find("three"), std::string::npos) << log;
}

}  // namespace
}  // namespace fathom
