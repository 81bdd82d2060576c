#include "app/host_threads.h"

#include <gtest/gtest.h>

namespace fathom::app {
namespace {

TEST(HostThreads, AreAsManyAsTheHostHasRoomFor) {
  config::InstancePlan plan;
  struct Case {
    int threads, masks_on_cpu, masks_on_gpu, compile;
  };
  for (const Case& each : {Case{1, 1, 1, 2}, Case{2, 2, 1, 2}, Case{6, 6, 3, 3}, Case{8, 8, 4, 4},
                           Case{192, 8, 8, 8}}) {
    plan.threads = each.threads;
    plan.device = config::DeviceKind::kCpu;
    EXPECT_EQ(mask_threads(plan), each.masks_on_cpu);
    EXPECT_EQ(compile_threads(plan), each.compile);
    plan.device = config::DeviceKind::kCuda;
    EXPECT_EQ(mask_threads(plan), each.masks_on_gpu);
    EXPECT_EQ(compile_threads(plan), each.compile);
  }
}

}  // namespace
}  // namespace fathom::app
