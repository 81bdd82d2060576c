#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"

namespace fathom::bench {

struct StepOptions {
  std::int32_t moe_layers = 2;  // after one dense layer
  std::vector<std::int32_t> batches{1, 16, 64, 128};
  std::int32_t context = 4096;  // tokens of every sequence, the new one included
  std::string json;             // a file for the figures; none when empty
};

// --layers N, --batches N,N,…, --context N, --json FILE. kInvalidArgument names the flag, what was
// given and what may be.
Result<StepOptions> parse_step_options(std::span<char* const> arguments);

}  // namespace fathom::bench
