#pragma once

#include <string_view>

#include "base/status.h"
#include "config/model_config.h"

namespace fathom::make_checkpoint {

// A built-in architecture; kInvalidArgument lists them for an unknown name.
//   micro  generic small dimensions, 3 layers and a draft layer, BF16: about 3 MB
//   mid    the published model's head dimensions, indexer and rotary scaling on a narrower model of
//          10 layers and a draft layer, FP8: about 1 GB
Result<config::ModelConfig> preset(std::string_view name);

}  // namespace fathom::make_checkpoint
