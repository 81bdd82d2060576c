#pragma once

#include <memory>
#include <vector>

#include "base/status.h"
#include "config/model_config.h"
#include "model/weights.h"
#include "tensor/device.h"

namespace fathom::bench {

// Weights without a checkpoint, for timings: FP8 codes below 1.75 with small scales, norms of 1. A
// block of random bytes on the device is copied into every tensor, so a model of many gigabytes is
// made in seconds and nothing of its size is in host memory.
struct SyntheticWeights {
  model::Weights weights;
  std::vector<Buffer> buffers;
};

// Requires config.quantization. kResourceExhausted when the device's memory does not suffice.
Result<std::unique_ptr<SyntheticWeights>> make_synthetic_weights(const config::ModelConfig& config,
                                                                 Device& device);

}  // namespace fathom::bench
