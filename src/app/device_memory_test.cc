#include "app/device_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fathom::app {
namespace {

using testing::HasSubstr;

constexpr std::int64_t kGib = std::int64_t{1} << 30;

PoolSize half_of_80_gib() {
  PoolSize size;
  size.memory_fraction = 0.5;
  size.free_at_start = 80 * kGib;
  size.weights = 30 * kGib;
  size.bytes_per_token = 1 << 20;
  return size;
}

TEST(DeviceMemory, ThePoolIsWhatTheFractionLeavesBesideTheWeights) {
  // 40 - 30 GiB, a page of 64 tokens is 64 MiB.
  EXPECT_EQ(pages_of_pool(half_of_80_gib()).value(), 160);
}

TEST(DeviceMemory, ThePoolIsNoLargerThanAskedFor) {
  PoolSize size = half_of_80_gib();
  size.max_tokens = 1000;
  EXPECT_EQ(pages_of_pool(size).value(), 15);
  size.max_tokens = 1'000'000;
  EXPECT_EQ(pages_of_pool(size).value(), 160);
}

TEST(DeviceMemory, PositionsOfThePoolFitInto32Bits) {
  PoolSize size = half_of_80_gib();
  size.bytes_per_token = 1;
  EXPECT_EQ(pages_of_pool(size).value(), (1 << 25) - 1);
}

TEST(DeviceMemory, WeightsThatTakeTheWholeFractionAreRefusedWithTheFlag) {
  PoolSize size = half_of_80_gib();
  size.weights = 40 * kGib;
  const auto pages = pages_of_pool(size);
  ASSERT_FALSE(pages.ok());
  EXPECT_EQ(pages.status().code(), Code::kResourceExhausted);
  EXPECT_THAT(pages.status().message(), HasSubstr("raise --mem-fraction-static"));
  EXPECT_THAT(pages.status().message(), HasSubstr("40.00 GiB"));
}

TEST(DeviceMemory, LessThanAPageIsRefused) {
  PoolSize size = half_of_80_gib();
  size.max_tokens = 63;
  EXPECT_FALSE(pages_of_pool(size).ok());
}

TEST(DeviceMemory, AWorkspaceThatLeavesTooLittleIsRefusedWithTheFlags) {
  EXPECT_TRUE(check_fit(10 * kGib, kGib, 11 * kGib).ok());
  const Status status = check_fit(10 * kGib, 20 * kGib, 10 * kGib);
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.message(), HasSubstr("--chunked-prefill-size"));
  EXPECT_THAT(status.message(), HasSubstr("--mem-fraction-static"));
}

TEST(DeviceMemory, TheTableSumsToTheDevice) {
  DeviceMemoryPlan plan;
  plan.total = 80 * kGib;
  plan.taken_before = kGib;
  plan.weights = 30 * kGib;
  plan.caches = 10 * kGib;
  plan.workspace = 2 * kGib;
  plan.step_buffers = kGib / 2;
  plan.graphs = kGib / 2;
  EXPECT_EQ(plan.reserve(), 36 * kGib);
  const std::string table = memory_table(plan);
  EXPECT_THAT(table, HasSubstr("reserve                     36.000 GiB   45.0 %\n"));
  EXPECT_THAT(table, HasSubstr("the device                  80.000 GiB  100.0 %\n"));
}

TEST(DeviceMemory, RequestsAreBoundedByPagesAndByRowsOfLogits) {
  EXPECT_EQ(default_max_running(7), 7);
  EXPECT_EQ(default_max_running(100000), 2048);
}

}  // namespace
}  // namespace fathom::app
