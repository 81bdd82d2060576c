#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

namespace fathom::app {

// How the memory of one device with memory of its own is shared out, in bytes. The parts and the
// reserve sum to the device.
struct DeviceMemoryPlan {
  std::int64_t total = 0;
  std::int64_t taken_before = 0;  // by other programs and the driver
  std::int64_t weights = 0;
  std::int64_t caches = 0;
  std::int64_t workspace = 0;     // what the model's operations write
  std::int64_t step_buffers = 0;  // inputs and results of steps
  std::int64_t graphs = 0;
  // What nothing was planned for.
  std::int64_t reserve() const {
    return total - taken_before - weights - caches - workspace - step_buffers - graphs;
  }
};

// What SGLang's log calls a GB.
double gigabytes(std::int64_t bytes);

// A table for the log: a line a part, with its share of the device.
std::string memory_table(const DeviceMemoryPlan& plan);

struct PoolSize {
  double memory_fraction = 0;        // --mem-fraction-static: the share of weights and caches
  std::int64_t free_at_start = 0;    // before the weights
  std::int64_t weights = 0;          // their bytes
  std::int64_t bytes_per_token = 0;  // of all layers' caches
  std::int64_t max_tokens = 0;       // --max-total-tokens; 0: as many as fit
};

// The pages of the pool: what the fraction leaves beside the weights. kResourceExhausted tells the
// numbers and the flag to change when that is not a page.
Result<std::int32_t> pages_of_pool(const PoolSize& size);

// The requests that may run at once when no flag says: as many as a pool can hold with a page each,
// up to 2048, since each takes a row of logits.
std::int32_t default_max_running(std::int32_t pages);

// Whether `wanted` bytes of caches fit beside the workspace. kResourceExhausted tells the numbers
// and the flags to change.
Status check_fit(std::int64_t wanted, std::int64_t workspace, std::int64_t free_now);

}  // namespace fathom::app
