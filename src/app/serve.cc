#include "app/serve.h"

#include <cstdlib>
#include <memory>

#include "app/end_signals.h"
#include "app/instance.h"
#include "base/clock.h"
#include "base/log.h"

namespace fathom::app {

namespace {

constexpr int kLookMs = 20;                           // at what is unfinished
constexpr std::int64_t kTellEveryNs = 5'000'000'000;  // how much that is

// Lets every accepted request end; another signal aborts them.
void drain(Instance& instance, EndSignals& signals) {
  std::int64_t told_ns = 0;
  bool aborted = false;
  while (const std::size_t left = instance.unfinished()) {
    if (!instance.failure().ok()) return;  // the failed engine has ended them all
    if (const std::int64_t now = now_ns(); now - told_ns >= kTellEveryNs) {
      log_info("Gracefully exiting... Remaining number of requests " + std::to_string(left));
      told_ns = now;
    }
    if (signals.wait(-1, kLookMs) && !aborted) {
      log_warning("Told to end a second time: aborting " + std::to_string(left) + " requests");
      aborted = true;
    }
    // At every look: a request that is still being read is aborted when it has reached the engine.
    if (aborted) instance.abort_requests();
  }
}

}  // namespace

Status serve(const config::InstancePlan& plan, const std::string& server_arguments) {
  Result<EndSignals> signals = EndSignals::create();
  FATHOM_RETURN_IF_ERROR(signals.status());
  auto created = Instance::create(plan, server_arguments);
  FATHOM_RETURN_IF_ERROR(created.status());
  Instance& instance = **created;
  instance.start();
  while (instance.failure().ok()) {
    if (!signals->wait(instance.failure_fd(), -1)) continue;
    if (instance.loading()) {
      // Reading a model takes minutes and nothing needs saving: the process just goes.
      log_info("Told to end while the model was being loaded");
      std::_Exit(0);
    }
    // In this order: whoever reads the line can rely on it.
    instance.refuse_requests();
    log_info("Told to end: no new requests");
    drain(instance, *signals);
    break;
  }
  instance.stop();
  return instance.failure();
}

}  // namespace fathom::app
