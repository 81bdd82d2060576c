#include "app/host_threads.h"

#include <algorithm>

namespace fathom::app {

namespace {

constexpr int kMaxThreads = 8;

}  // namespace

int mask_threads(const config::InstancePlan& plan) {
  const bool gpu = plan.device != config::DeviceKind::kCpu;
  return std::clamp(gpu ? plan.threads / 2 : plan.threads, 1, kMaxThreads);
}

int compile_threads(const config::InstancePlan& plan) {
  return std::clamp(plan.threads / 2, 2, kMaxThreads);
}

}  // namespace fathom::app
